//! How deep a statement may nest, by its tokens alone.
//!
//! Decoding a tree is recursive, and libpg_query lets trees through that need more stack to decode than it
//! needed to build. So a bound is taken before the grammar runs, from PostgreSQL's own scanner: no construct
//! nests without a token that is counted here. Lists don't nest, so commas, AND and OR end a chain; what can
//! go on across them (set operations, JOIN) is counted through. CASE and END are parentheses of their own, within
//! which the arms are a list: JDBC drivers send one with an arm for every type there is.

use pg_query::protobuf::Token;

/// An upper bound, in tokens that nest, on the depth of the tree of `text`; `None` where the scanner itself
/// refuses the text, as the grammar then will.
pub(super) fn bound(text: &str) -> Option<usize> {
    // Each level takes a byte at least, so a short text needs no look.
    if text.len() < MAX_NESTING { Some(text.len()) } else { exact(text) }
}

/// As [`bound`], by a look at every token.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other token is counted by the level")]
pub(super) fn exact(text: &str) -> Option<usize> {
    // The crate takes the tokens of a text that has none from a null pointer.
    if text.bytes().all(|byte| matches!(byte, b' ' | b'\t'..=b'\r')) {
        return Some(0);
    }
    let tokens = pg_query::scan_tokens(text).ok()?;
    let mut open = Vec::new();
    let mut level = Level::default();
    let mut deepest = 0;
    let mut before = Token::Nul;
    for token in &tokens {
        let token = token.token();
        // `x.end` and `AS end` are names.
        let is_name = matches!(std::mem::replace(&mut before, token), Token::Ascii46 | Token::As);
        match token {
            Token::Ascii40 | Token::Ascii91 => open.push(std::mem::take(&mut level)),
            Token::Case if !is_name => {
                open.push(std::mem::replace(&mut level, Level { is_case: true, ..Level::default() }));
            }
            Token::EndP if level.is_case && !is_name => level = closed(&level, &mut open),
            Token::Ascii41 | Token::Ascii93 => {
                // A CASE that was no keyword, and so never ended.
                while level.is_case {
                    level = closed(&level, &mut open);
                }
                level = closed(&level, &mut open);
            }
            // Statements of one string share nothing.
            Token::Ascii59 if open.is_empty() => {
                deepest = deepest.max(level.depth());
                level = Level::default();
            }
            kind => level.take(kind),
        }
    }
    // What was never closed counts as nested; the grammar will refuse it.
    let unclosed = open.iter().map(|level| level.depth() + 2).sum::<usize>();
    Some(deepest.max(level.depth() + unclosed))
}

/// The level around `inner`, which ends.
fn closed(inner: &Level, open: &mut Vec<Level>) -> Level {
    let mut outer = open.pop().unwrap_or_default();
    outer.nest(inner.depth() + if inner.is_case { 2 } else { 1 });
    outer
}

/// Tokens that nest, at most.
pub(super) const MAX_NESTING: usize = 1_050;

/// What is known within one pair of parentheses, or one CASE.
#[derive(Debug, Default)]
struct Level {
    /// Tokens since the last separator.
    chain: usize,
    longest: usize,
    /// Tokens that nest across separators.
    through: usize,
    /// The deepest pair of parentheses inside.
    nested: usize,
    /// BETWEENs whose AND is still to come.
    between: usize,
    /// Whether CASE opened it, and END shall close it.
    is_case: bool,
}

impl Level {
    fn depth(&self) -> usize {
        self.longest.max(self.chain) + self.through + self.nested
    }

    fn nest(&mut self, depth: usize) {
        self.nested = self.nested.max(depth);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "every other token counts alike")]
    fn take(&mut self, kind: Token) {
        match kind {
            Token::Ascii44 | Token::Or => self.separate(),
            Token::When | Token::Then | Token::Else if self.is_case => self.separate(),
            Token::And if self.between == 0 => self.separate(),
            Token::And => self.between -= 1,
            Token::Between => {
                self.between += 1;
                self.chain += 1;
            }
            Token::Union | Token::Intersect | Token::Except => self.through += 1,
            Token::Join => self.through += 2,
            // A query is several nodes deep by itself.
            Token::Select | Token::Values | Token::With => self.chain += 3,
            Token::SqlComment
            | Token::CComment
            | Token::Ident
            | Token::Uident
            | Token::Sconst
            | Token::Usconst
            | Token::Iconst
            | Token::Fconst
            | Token::Param
            | Token::Ascii46 => {}
            _ => self.chain += 1,
        }
    }

    fn separate(&mut self) {
        self.longest = self.longest.max(self.chain);
        self.chain = 0;
    }
}
