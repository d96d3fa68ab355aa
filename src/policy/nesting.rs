//! How deep a policy's text is nested, told before the engine's parser sees it: that one goes down with every bracket
//! and operator, and the process with it once its stack is full.

/// The first line, from 1, on which `text` is nested deeper than any rule that could be vetted.
///
/// Counted are brackets that are open, and for each of them the operators since an expression began in it: the parser
/// needs at most so many steps down. Texts and comments don't count.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    let mut depth = Depth { chains: vec![0], after_operand: false };
    let mut line = 1;
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let length = match first {
            b'#' => after.iter().take_while(|byte| **byte != b'\n').count(),
            b'"' => quoted(after),
            b'`' => after.iter().take_while(|byte| **byte != b'`').count().saturating_add(1),
            _ if is_word(*first) => after.iter().take_while(|byte| is_word(**byte) || **byte == b'.').count(),
            _ => 0,
        };
        let (inside, left) = after.split_at_checked(length).unwrap_or((after, &[]));
        match first {
            b'\n' => line += 1,
            b'#' => {}
            b'(' | b'[' | b'{' => depth.open(),
            b')' | b']' | b'}' => depth.close(),
            b',' | b';' => depth.begin(),
            b'"' | b'`' => depth.operand(),
            b'i' if inside == b"n" => depth.operator(),
            _ if is_word(*first) => depth.operand(),
            _ if b"+-*/%|&=!<>".contains(first) => depth.operator(),
            _ => {}
        }
        if depth.sum() > MOST {
            return Some(line);
        }
        line += inside.iter().filter(|byte| **byte == b'\n').count();
        rest = left;
    }
    None
}

struct Depth {
    /// Operators in the expression that is open, for each bracket that is.
    chains: Vec<usize>,
    after_operand: bool,
}

impl Depth {
    fn open(&mut self) {
        self.chains.push(0);
        self.after_operand = false;
    }

    fn close(&mut self) {
        self.chains.pop();
        self.after_operand = true;
    }

    /// Two operands without an operator between them belong to two expressions.
    fn operand(&mut self) {
        if self.after_operand {
            self.begin();
        }
        self.after_operand = true;
    }

    fn operator(&mut self) {
        if let Some(chain) = self.chains.last_mut() {
            *chain += 1;
        }
        self.after_operand = false;
    }

    fn begin(&mut self) {
        if let Some(chain) = self.chains.last_mut() {
            *chain = 0;
        }
        self.after_operand = false;
    }

    fn sum(&self) -> usize {
        self.chains.iter().sum::<usize>().saturating_add(self.chains.len())
    }
}

/// The length of what follows an opening quote, with the closing one.
fn quoted(after: &[u8]) -> usize {
    let mut escaped = false;
    let end = after.iter().position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        // A text ends with its line at the latest; the parser will say so.
        byte => matches!(byte, b'"' | b'\n'),
    });
    end.map_or(after.len(), |end| end.saturating_add(1))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Vetting reads trees that are about half as deep.
const MOST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_operators_count_where_they_nest() {
        for deep in [
            "[\n".repeat(2000),
            "{".repeat(200),
            format!("x := 1{}", "\n+ 1".repeat(3000)),
            "-\n".repeat(3000),
            format!("x := 1{}", " in 1".repeat(3000)),
            format!("x := y{} ", "(1 + 2 + 3 + 4 + 5 + ".repeat(30)),
            format!("x := \"\\\"#{{\" == {}", "[".repeat(200)),
        ] {
            assert!(too_deep(&deep).is_some(), "{}", &deep[..20]);
        }
        assert_eq!(too_deep(&format!("a\n`\n`\n\n{}", "[\n".repeat(200))), Some(132));
    }

    #[test]
    fn what_follows_each_other_does_not() {
        for flat in [
            "x := [1, 2]\n".repeat(2000),
            format!("x := [{}]", "1 + 2, ".repeat(2000)),
            "a == 1\nb != 2\n".repeat(2000),
            format!("# {}", "[".repeat(2000)),
            format!("x := \"{}\"", "[-".repeat(2000)),
            format!("x := `{}`", "[-\n".repeat(2000)),
            "x := -1\n".repeat(2000),
            "some x in y\n".repeat(2000),
            "import data.x as y\n".repeat(2000),
        ] {
            assert_eq!(too_deep(&flat), None, "{}", &flat[..8]);
        }
    }
}
