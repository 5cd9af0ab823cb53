//! Texts broken into lines, and sizes in words.

/// A text in lines of so many characters, between words where that is possible.
pub(super) fn broken(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut left = room;
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        loop {
            let line = lines.last_mut().filter(|line| !line.is_empty());
            match line {
                Some(line) if word.len() < left => {
                    line.push(' ');
                    left -= 1;
                }
                Some(_) => {
                    lines.push(String::new());
                    left = room;
                }
                None => {}
            }
            let now = word.len().min(left);
            if let Some(line) = lines.last_mut() {
                line.extend(word.drain(..now));
            }
            left -= now;
            if word.is_empty() {
                break;
            }
        }
    }
    lines
}

/// KiB as GiB with one digit, without floats.
pub(super) fn gib(kib: u64) -> String {
    let tenths = (kib * 10 + (1 << 19)) >> 20;
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", 8, &[""])]
    #[case("one two three", 8, &["one two", "three"])]
    #[case("one two three", 7, &["one two", "three"])]
    #[case("one /a/very/long/path", 8, &["one", "/a/very/", "long/pat", "h"])]
    #[case("one", 3, &["one"])]
    fn words_are_kept_whole_where_they_fit(
        #[case] text: &str,
        #[case] room: usize,
        #[case] lines: &[&str],
    ) {
        assert_eq!(broken(text, room), lines);
    }

    #[test]
    fn memory_is_rounded_to_a_tenth() {
        assert_eq!(gib(0), "0.0 GiB");
        assert_eq!(gib(16_384_000), "15.6 GiB");
    }
}
