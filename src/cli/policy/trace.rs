//! How each rule went, in words.

use crate::policy::rehearse::Rehearsal;
use crate::policy::trace::TracedRule;

use super::super::output::{Output, cut, visible};

/// What was printed, the rules that held, and where the others stopped.
pub(super) fn tell(rehearsal: &Rehearsal, output: &mut Output) -> std::io::Result<()> {
    for print in &rehearsal.prints {
        output.line(format_args!("print      {}", visible(print)))?;
    }
    let mut file = "";
    for rule in &rehearsal.trace {
        if rule.file != file {
            output.line(format_args!("{}", rule.file))?;
            file = &rule.file;
        }
        output.line(cut(&visible(&line(rule)), WIDTH))?;
        if rule.stopped_at > 0 {
            let stop = format!("           line {}: {}", rule.stopped_at, rule.statement);
            output.line(cut(&visible(&stop), WIDTH))?;
        }
    }
    Ok(())
}

fn line(rule: &TracedRule) -> String {
    let name = rule.rule.strip_prefix("portcullis.").unwrap_or(&rule.rule);
    let word = if rule.held { "held" } else { "did not hold" };
    format!("  {:>5}    {name} {word}", rule.line)
}

const WIDTH: usize = 80;
