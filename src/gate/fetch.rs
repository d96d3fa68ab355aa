//! An Execute of a cursor that SQL has declared: PostgreSQL's portals know no difference, so it is a FETCH.

use crate::identity::Identity;
use crate::sql::Statement;

use super::act::Judged;
use super::judge::{Case, Via};
use super::{Authorized, Denial, Fetch, Gate, Tell};

impl Judged for Fetch {
    async fn judged(self, gate: &Gate, who: &Identity, tell: &dyn Tell) -> Result<Authorized<Self>, Denial> {
        let statement = Statement::new(self.text().as_bytes(), usize::MAX)
            .unwrap_or_else(|_| Statement::unread(self.text().into()));
        let case = Case {
            name: &self.portal,
            ..Case::to_run(who, &self.context, &statement, Via::Fetch, &self.names)
        };
        let admitted = gate.admitted(who, &case, tell, "").await?;
        Ok(Authorized::mint(self, admitted.single(gate)))
    }
}

impl Fetch {
    /// The statement that does the same.
    fn text(&self) -> String {
        let name = self.portal.replace('"', "\"\"");
        match self.max_rows {
            0 => format!("FETCH ALL FROM \"{name}\""),
            rows => format!("FETCH {rows} FROM \"{name}\""),
        }
    }
}
