//! Who may allow anything. A decision point's base package may; an add-on only where its file says so in its metadata, and
//! the configuration lets the bundle grant that the file came with. Everybody may deny.

use super::snapshot::{RulebookError, Source};
use super::syntax::Module;
use super::vocabulary::{self, Member};

/// Refuses the first declaration that gives something and stands where nothing may be given.
pub(super) fn check(modules: &[Module], sources: &[&Source]) -> Result<(), RulebookError> {
    apart(modules, sources)?;
    for module in modules {
        let may = sources.iter().any(|source| source.grants && source.name() == module.site.file);
        if module.package == vocabulary::LOG && !may {
            return Err(module.site.error(
                "what is kept out of decision logs is not for this bundle to say: it may not grant"
                    .to_owned(),
            ));
        }
        let Some((point, member)) = vocabulary::point_of(&module.package) else { continue };
        let source = sources.iter().find(|source| source.name() == module.site.file);
        let says_so = source.is_some_and(|source| says_that_it_grants(&source.text));
        let lets = source.is_some_and(|source| source.grants);
        if lets && (member == Member::Base || says_so) {
            continue;
        }
        let own = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
        let giving = module.rules.iter().find(|rule| point.gives(&own(&rule.path)));
        let Some(rule) = giving else { continue };
        let name = own(&rule.path);
        return Err(rule.site.error(match lets {
            false => format!(
                "`{name}` gives something, and this bundle may not: set `grants = true` for it in the configuration, or only deny"
            ),
            true => format!(
                "`{name}` gives something, and `{}` is an add-on: put `# METADATA`, `# custom:`, `#   grants: true` above its `package`, or only deny",
                module.package
            ),
        }));
    }
    Ok(())
}

/// What may not grant has packages of its own: one more `is_dba` in somebody else's package would be a grant too, and one
/// more `is_exempt` would lift a denial.
fn apart(modules: &[Module], sources: &[&Source]) -> Result<(), RulebookError> {
    let lets =
        |module: &Module| sources.iter().any(|source| source.grants && source.name() == module.site.file);
    let (granting, others): (Vec<&Module>, Vec<&Module>) = modules.iter().partition(|module| lets(module));
    let shared = others.into_iter().find_map(|module| {
        let same = granting.iter().find(|other| other.package == module.package)?;
        Some((module, same))
    });
    match shared {
        None => Ok(()),
        Some((module, same)) => Err(module.site.error(format!(
            "`{}` is the package of {} too, and this bundle may not grant: give it a name below it, as `{}.NAME`",
            module.package, same.site.file, module.package
        ))),
    }
}

/// Whether the block of metadata in front of `package` has `grants: true` below `custom:`.
fn says_that_it_grants(text: &str) -> bool {
    let head = text.lines().take_while(|line| !line.starts_with("package"));
    let comments = head.filter_map(|line| line.trim_start().strip_prefix('#'));
    let mut block = comments.skip_while(|line| line.trim() != "METADATA").skip(1);
    let mut inside = false;
    block.any(|line| {
        let is_indented = line.strip_prefix(' ').is_some_and(|rest| rest.starts_with(' '));
        if !is_indented {
            inside = line.trim() == "custom:";
        }
        inside && line.trim() == "grants: true"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metadata_in_front_of_the_package_grants() {
        let grants = "# METADATA\n# title: x\n# custom:\n#   grants: true\npackage a\n";
        assert!(says_that_it_grants(grants));
        let others = [
            "# METADATA\n# custom:\n#   grants: false\npackage a\n",
            "# METADATA\n# grants: true\npackage a\n",
            "# custom:\n#   grants: true\npackage a\n",
            "# METADATA\n# custom:\n#   other: 1\n# description: |\n#   grants: true\npackage a\n",
            "package a\n# METADATA\n# custom:\n#   grants: true\nallow := true\n",
            "# METADATA\n# custom:\n#   grants: true or not\npackage a\n",
        ];
        for text in others {
            assert!(!says_that_it_grants(text), "{text}");
        }
    }
}
