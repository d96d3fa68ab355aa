//! Time zones that rules read: `input.time.zones["Europe/Berlin"].hour`. They are known before any decision, so that the
//! gateway looks at these clocks and no others, and a decision is kept while they show the same.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::snapshot::RulebookError;
use super::syntax::{Module, Reference, Rule};

/// The zones that `modules` read, by name, each once. Tests bring clocks of their own.
pub(super) fn read(modules: &[Module]) -> Result<Vec<TimeZone>, RulebookError> {
    let mut zones = BTreeMap::new();
    for module in modules.iter().filter(|module| !module.is_test) {
        let imported = module.imports.values().find(|target| is_zones(target));
        if let Some(target) = imported {
            return Err(module.site.error(format!(
                "the import of `{}` hides which time zone is read: write `{}[\"Europe/Berlin\"]` out",
                target.join("."),
                PATH.join(".")
            )));
        }
        for reference in module.rules.iter().flat_map(references).filter(|at| is_zones(&at.path)) {
            let name = reference.path.get(PATH.len()).ok_or_else(|| {
                reference.site.error(format!(
                    "a time zone is read by its name, written out: `{}[\"Europe/Berlin\"]`",
                    PATH.join(".")
                ))
            })?;
            let zone = TimeZone::get(name).map_err(|_| {
                reference.site.error(format!(
                    "there is no time zone `{name}`: use a name of the IANA database, as `Europe/Berlin` or `UTC`"
                ))
            })?;
            zones.insert(name.clone(), zone);
        }
    }
    Ok(zones.into_values().collect())
}

fn references(rule: &Rule) -> impl Iterator<Item = &Reference> {
    rule.references.iter().chain(rule.calls.iter().map(|call| &call.function))
}

fn is_zones(path: &[String]) -> bool {
    path.len() >= PATH.len() && path.iter().zip(PATH).all(|(name, part)| name == part)
}

const PATH: [&str; 3] = ["input", "time", "zones"];
