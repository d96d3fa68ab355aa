//! Text of strangers, shown so that what is approved is what is seen.
//!
//! Characters that can't be seen, or that change the order of what is seen, stand as their code point; letters
//! outside ASCII are marked, because many look like ones inside it.

use askama::Template;
use askama::filters::HtmlSafe;

/// Text in runs of one sort; renders itself, escaped.
#[derive(Debug, Template)]
#[template(path = "console/text.html")]
pub(super) struct Shown {
    runs: Vec<Run>,
}

/// The template escapes each run.
impl HtmlSafe for Shown {}

#[derive(Debug, PartialEq, Eq)]
struct Run {
    sort: Sort,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Plain,
    /// Visible, outside ASCII.
    Foreign,
    /// Invisible or misleading: the text is its code point.
    Hidden,
}

impl Shown {
    /// All of `text`.
    pub(super) fn all(text: &str) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        for character in text.chars() {
            let sort = sort(character);
            match runs.last_mut().filter(|run| run.sort == sort && sort != Sort::Hidden) {
                Some(run) => run.text.push(character),
                None if sort == Sort::Hidden => {
                    runs.push(Run { sort, text: format!("U+{:04X}", u32::from(character)) });
                }
                None => runs.push(Run { sort, text: character.to_string() }),
            }
        }
        Self { runs }
    }

    /// The first `most` characters of `text`, on one line.
    pub(super) fn start(text: &str, most: usize) -> Self {
        let mut start: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((end, _)) = start.char_indices().nth(most) {
            start.truncate(end);
            let mut shown = Self::all(&start);
            shown.runs.push(Run { sort: Sort::Plain, text: " …".to_owned() });
            return shown;
        }
        Self::all(&start)
    }

    /// Whether there is anything in it that a reader might miss.
    pub(super) fn misleads(&self) -> bool {
        self.runs.iter().any(|run| run.sort == Sort::Hidden)
    }

    /// Whether there are letters outside ASCII in it.
    pub(super) fn is_foreign(&self) -> bool {
        self.runs.iter().any(|run| run.sort == Sort::Foreign)
    }
}

fn sort(character: char) -> Sort {
    match character {
        '\n' | '\t' | ' '..='~' => Sort::Plain,
        character if character.is_control() || is_hidden(character) => Sort::Hidden,
        _ => Sort::Foreign,
    }
}

/// Unicode's format characters, fillers, odd spaces, separators, variation selectors, tags, private use and
/// noncharacters.
fn is_hidden(character: char) -> bool {
    matches!(character,
        '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{8e2}'
        | '\u{115f}' | '\u{1160}' | '\u{1680}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{2800}' | '\u{3000}'
        | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{13430}'..='\u{1345f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &str) -> String {
        Shown::all(text).to_string()
    }

    #[test]
    fn what_cannot_be_seen_stands_as_its_code_point() {
        for hidden in [
            '\u{0}',
            '\u{1b}',
            '\r',
            '\u{ad}',
            '\u{200b}',
            '\u{202e}',
            '\u{2066}',
            '\u{a0}',
            '\u{e0041}',
            '\u{3164}',
        ] {
            let code = format!("U+{:04X}", u32::from(hidden));
            let shown = html(&format!("a{hidden}b"));
            assert!(shown.contains(&code) && !shown.contains(hidden), "{shown}");
        }
    }

    #[test]
    fn letters_that_look_like_others_are_marked() {
        assert!(html("sеlect").contains("<mark class=\"foreign\">е</mark>"), "a Cyrillic letter");
        assert!(Shown::all("naïve").is_foreign() && !Shown::all("naive").is_foreign());
    }

    #[test]
    fn markup_stays_text() {
        let shown = html("<script>alert('x' & \"y\")</script>");
        assert!(!shown.contains('<') || !shown.contains("<script"), "{shown}");
    }

    #[test]
    fn a_start_is_one_line_and_says_that_it_goes_on() {
        assert_eq!(Shown::start("SELECT\n  1", 20).to_string(), "SELECT 1");
        assert_eq!(Shown::start("SELECT 1", 3).to_string(), "SEL …");
        assert!(Shown::start("a\u{202e}b", 9).misleads());
    }
}
