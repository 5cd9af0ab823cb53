//! Numbers as Proxmox VE takes them (pve-common JSONSchema.pm, `is_number`).

use super::problem::ValueError;
use crate::guest::excerpt;

/// The most memory that is taken for real, in MiB: 2^40 (an exbibyte).
pub(super) const MAX_MIB: u64 = 1 << 40;

/// A number of MiB in any form that Proxmox VE takes for a number ("1024", "1e3", "512.5"), rounded down.
pub(super) fn mebibytes(text: &str) -> Result<u64, ValueError> {
    let refused = || ValueError::Number {
        found: excerpt(text),
        expected: "memory in MiB (a number up to 2^40)",
    };
    let plain = text.strip_prefix('+').unwrap_or(text);
    let (mantissa, exponent) = match plain.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent),
        None => (plain, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exponent_digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let is_number = is_digits(whole)
        && is_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && !exponent_digits.is_empty()
        && is_digits(exponent_digits);
    if !is_number {
        return Err(refused());
    }
    // Digits before the decimal point, once it is moved by the exponent; far beyond what counts, the exact figure does not.
    let exponent = exponent
        .parse::<i64>()
        .unwrap_or(match exponent.starts_with('-') {
            true => -1_000_000,
            false => 1_000_000,
        });
    let digits = format!("{whole}{fraction}");
    let point = exponent.clamp(-100_000_000, 100_000_000) + i64::try_from(whole.len()).unwrap_or(0);
    let mut mib = 0_u64;
    for (i, digit) in (0_i64..).zip(digits.bytes()) {
        if i >= point {
            break;
        }
        mib = mib
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'));
    }
    for _ in i64::try_from(digits.len()).unwrap_or(i64::MAX)..point {
        if mib == 0 || mib > MAX_MIB {
            break;
        }
        mib = mib.saturating_mul(10);
    }
    (mib <= MAX_MIB).then_some(mib).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1024", Some(1024))]
    #[case("+1024", Some(1024))]
    #[case("1e3", Some(1000))]
    #[case("1.5E3", Some(1500))]
    #[case("1.2345e3", Some(1234))]
    #[case("12345e-1", Some(1234))]
    #[case("12345e-9", Some(0))]
    #[case(".5", Some(0))]
    #[case("2.", Some(2))]
    #[case("0e999999999999999999999", Some(0))]
    #[case("1e12", Some(1_000_000_000_000))]
    #[case("1e13", None)]
    #[case("1e999999999999999999999", None)]
    #[case("99999999999999999999999999", None)]
    #[case("", None)]
    #[case(".", None)]
    #[case("1e", None)]
    #[case("1e+", None)]
    #[case("1 ", None)]
    #[case("0x10", None)]
    #[case("1e1.5", None)]
    fn memory_comes_in_many_forms(#[case] text: &str, #[case] mib: Option<u64>) {
        assert_eq!(mebibytes(text).ok(), mib);
    }
}
