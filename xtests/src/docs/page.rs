//! What a page is made of, and whether an output is what it shows.

/// One fenced block of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// ` ```sh `: command lines.
    Commands(Vec<Line>),
    /// ` ```conf PATH `: a file below the root of the node.
    File(String, String),
    /// ` ```text ` right below commands: what the last of them printed. `...` stands for any lines.
    Output(usize, String),
}

/// A command line of a page, without its comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it stands.
    pub number: usize,
    /// What is typed.
    pub words: String,
    /// How it ends: 0, unless its comment is `# exit N`.
    pub exit: u8,
}

/// The blocks of a page that mean something here; others are left out.
#[must_use]
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<(String, usize, Vec<&str>)> = None;
    let mut adjacent = false;
    for (number, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.trim().to_owned(), number + 1, Vec::new())),
            (None, None) => adjacent &= line.trim().is_empty(),
            (Some((_, _, lines)), None) => lines.push(line),
            (Some((info, first, lines)), Some(_)) => {
                let text = lines.join("\n") + "\n";
                let block = match info.split_once(' ') {
                    Some(("conf", path)) => Some(Block::File(path.to_owned(), text)),
                    None if info == "sh" => Some(Block::Commands(commands(lines, *first))),
                    None if info == "text" && adjacent => Some(Block::Output(*first, text)),
                    _ => None,
                };
                adjacent = matches!(block, Some(Block::Commands(_)));
                blocks.extend(block);
                open = None;
            }
        }
    }
    blocks
}

fn commands(lines: &[&str], first: usize) -> Vec<Line> {
    let (mut all, mut begun): (Vec<Line>, bool) = (Vec::new(), false);
    for (i, line) in lines.iter().enumerate() {
        let (line, comment) = line.split_once(" #").unwrap_or((line, ""));
        let exit = comment.trim().strip_prefix("exit ");
        let exit = exit.and_then(|code| code.parse().ok()).unwrap_or(0);
        let line = line.trim();
        let goes_on = line.ends_with('\\');
        let line = line.trim_end_matches('\\').trim();
        match all.last_mut() {
            Some(last) if begun => {
                last.words = format!("{} {line}", last.words);
                last.exit = exit;
            }
            _ if line.is_empty() || line.starts_with('#') => continue,
            _ => all.push(Line {
                number: first + i + 1,
                words: line.to_owned(),
                exit,
            }),
        }
        begun = goes_on;
    }
    all
}

/// Whether a page's text stands in an output: its lines in a row, `...` for any number of others.
pub(super) fn shows(page: &str, output: &str) -> bool {
    let lines: Vec<&str> = output.lines().map(str::trim_end).collect();
    let parts = page.lines().map(str::trim_end).collect::<Vec<_>>();
    let mut at = 0;
    for (i, part) in parts.split(|line| line.trim() == "...").enumerate() {
        if part.is_empty() {
            continue;
        }
        let found = lines[at..]
            .windows(part.len())
            .position(|some| some == part);
        match found {
            Some(found) if i > 0 || found == 0 => at += found + part.len(),
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_cut_into_what_is_played() {
        let page = "x\n```sh\n# why\nnumapin plan 100   # that\nnumapin status # exit 6\nqm set 1 \\\n  --cores 2\n```\n\n```text\na\n...\n```\nwords\n```text\nb\n```\n```conf \
                    etc/x\ny\n```\n";
        let line = |number, words: &str, exit| Line {
            number,
            words: words.to_owned(),
            exit,
        };
        let commands = vec![
            line(4, "numapin plan 100", 0),
            line(5, "numapin status", 6),
            line(6, "qm set 1 --cores 2", 0),
        ];
        let expected = vec![
            Block::Commands(commands),
            Block::Output(10, "a\n...\n".to_owned()),
            Block::File("etc/x".to_owned(), "y\n".to_owned()),
        ];
        assert_eq!(blocks(page), expected);
    }

    #[test]
    fn outputs_are_compared_line_by_line() {
        let output = "a\nb\nc\nd\n";
        for page in ["a\nb\n", "a\n...\nc\n", "...\nd\n", "a\nb\nc\nd\n"] {
            assert!(shows(page, output), "{page}");
        }
        for page in ["b\n", "a\nc\n", "a\n...\nb\nd\n", "e\n"] {
            assert!(!shows(page, output), "{page}");
        }
    }
}
