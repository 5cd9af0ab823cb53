//! What the steps say, line by line: `ok NAME`, `not ok NAME: wanted ..., got ...`, `saw NAME: VALUE`; other lines are remarks.

use std::collections::BTreeMap;

/// What the steps said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The steps that went as they should, in their order.
    pub ok: Vec<String>,
    /// The lines of those that did not.
    pub not_ok: Vec<String>,
    /// What the kernel was seen to do, by name.
    pub saw: BTreeMap<String, String>,
}

impl Said {
    /// Reads it.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut said = Self::default();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("ok ") {
                said.ok.push(name.trim().to_owned());
            } else if line.starts_with("not ok ") {
                said.not_ok.push(line.to_owned());
            } else if let Some((name, value)) = line
                .strip_prefix("saw ")
                .and_then(|line| line.split_once(": "))
            {
                said.saw.insert(name.to_owned(), value.trim().to_owned());
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sorted_by_their_first_words() {
        let said = Said::read(
            "up 6.1 s\nok a\nnot ok b: wanted \"1\", got \"2\"\nsaw c: 0-3 \nsaw d: \nok e\nend 9 s\n",
        );
        assert_eq!(said.ok, ["a", "e"]);
        assert_eq!(said.not_ok, ["not ok b: wanted \"1\", got \"2\""]);
        let saw: Vec<_> = said
            .saw
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(saw, [("c", "0-3"), ("d", "")]);
    }
}
