//! A FunctionCall: any function by its OID, without a word of SQL.

use std::sync::{Arc, OnceLock};

use smol_str::SmolStr;

use crate::catalog::{Function, Snapshot};
use crate::identity::Identity;
use crate::mask::Plan;
use crate::sql::facts::{Class, Destination, FunctionFact, SettingFact, Unresolved};
use crate::sql::{Analysis, Facts, Statement};

use super::act::Judged;
use super::admit::shown;
use super::escalate::Values;
use super::judge::{Case, Via};
use super::memory::Reading;
use super::{Authorized, Call, Denial, Gate, Names, Prepared, Tell};

impl Judged for Call {
    async fn judged(self, gate: &Gate, who: &Identity, tell: &dyn Tell) -> Result<Authorized<Self>, Denial> {
        let database = self.context.database();
        let catalog = match gate.catalogs.current(database) {
            Some(catalog) => catalog,
            None => gate.refreshed(database).await?,
        };
        let prepared = Arc::new(self.known(&catalog));
        let names = Names::default();
        let case = Case {
            parameters: vec![shown(&self.parameters)],
            prepared: Some(&prepared),
            values: Values::Bound(&self.parameters),
            ..Case::to_run(who, &self.context, &prepared.statement, Via::Call, &names)
        };
        let admitted = gate.admitted(who, &case, tell, "").await?;
        Ok(Authorized::mint(self, admitted.single(gate)))
    }
}

impl Call {
    /// What is known of it by `catalog`. Its text is for people: no grammar has one for it.
    fn known(&self, catalog: &Snapshot) -> Prepared {
        let function = catalog.function_by_oid(self.function);
        let name =
            function.map_or(self.function.to_string(), |found| format!("{}.{}", found.schema, found.name));
        let values: Vec<String> =
            (1..=self.parameters.values.len()).map(|value| format!("${value}")).collect();
        let statement = Statement::unread(format!("FunctionCall {name}({})", values.join(", ")).into());
        Prepared {
            analysis: Arc::new(Reading::new(Analysis::of_call(&statement, facts(function, &name)))),
            sql: statement.as_str().to_owned(),
            statement,
            plan: Plan::default(),
            catalog_version: catalog.version(),
            decision_id: SmolStr::default(),
            parameter_types: Vec::new(),
            described_types: OnceLock::new(),
        }
    }
}

/// Which setting it is about stands in a value that nobody has decoded.
fn setting(function: &str) -> Option<SettingFact> {
    let action = match function {
        "pg_catalog.set_config" => "set",
        "pg_catalog.current_setting" => "show",
        _ => return None,
    };
    Some(SettingFact { name: "?".to_owned(), action: action.to_owned(), values: Vec::new() })
}

fn facts(function: Option<&Function>, name: &str) -> Facts {
    let unknown = || Unresolved {
        what: "function".to_owned(),
        name: name.to_owned(),
        why: "is the OID of no function that is known".to_owned(),
    };
    let fact = |function: &Function| FunctionFact {
        key: name.to_owned(),
        builtin: function.schema == "pg_catalog",
        volatility: function.volatility,
        security_definer: function.security_definer,
        languages: vec![function.language.clone()],
    };
    Facts {
        kind: "function_call".to_owned(),
        class: Class::Utility,
        settings: setting(name).into_iter().collect(),
        functions: function.map(fact).into_iter().collect(),
        destinations: vec![Destination::Client],
        unresolved: if function.is_none() { vec![unknown()] } else { Vec::new() },
        ..Facts::empty()
    }
}
