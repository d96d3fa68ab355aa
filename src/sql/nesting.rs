//! How deep a statement may nest, by its tokens alone.
//!
//! Decoding a tree is recursive, and libpg_query lets trees through that need more stack to decode than it
//! needed to build. So a bound is taken before the grammar runs, from PostgreSQL's own scanner: no construct
//! nests without a token that is counted here. Lists don't nest, so commas, AND and OR end a chain; what can
//! go on across them (set operations, JOIN, CASE) is counted through.

use pg_query::protobuf::Token;

/// An upper bound, in tokens that nest, on the depth of the tree of `text`; `None` where the scanner itself
/// refuses the text, as the grammar then will.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other token is counted by the level")]
pub(super) fn bound(text: &str) -> Option<usize> {
    if text.len() < MAX_NESTING {
        // Each level takes a byte at least, so a short text needs no look.
        return Some(text.len());
    }
    let tokens = pg_query::scan_tokens(text).ok()?;
    let mut open = Vec::new();
    let mut level = Level::default();
    let mut deepest = 0;
    for token in &tokens {
        match token.token() {
            Token::Ascii40 | Token::Ascii91 => open.push(std::mem::take(&mut level)),
            Token::Ascii41 | Token::Ascii93 => {
                let inner = level.depth();
                level = open.pop().unwrap_or_default();
                level.nest(inner + 1);
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
    let unclosed = open.iter().map(|level| level.depth() + 1).sum::<usize>();
    Some(deepest.max(level.depth() + unclosed))
}

/// Tokens that nest, at most.
pub(super) const MAX_NESTING: usize = 1_050;

/// What is known within one pair of parentheses.
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
            Token::And if self.between == 0 => self.separate(),
            Token::And => self.between -= 1,
            Token::Between => {
                self.between += 1;
                self.chain += 1;
            }
            Token::Union | Token::Intersect | Token::Except => self.through += 1,
            Token::Join | Token::Case => self.through += 2,
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
