//! THE GATE: the only door to a governed database.
//!
//! Every act of every identity passes [`Gate::admit`]: facts, policy, on escalation the desk, a second decision
//! with the approval as evidence, the ledger, and only then an [`Authorized`]. Nothing goes up without a proof,
//! no row comes down without a release. Whatever fails inside is a [`Denial`].

pub mod act;
pub mod authorized;
pub mod denial;
pub mod ports;

pub use act::{Act, Approve, Bind, Connect, Context, Door, Parameters, Prepare, Query, Run, RunMode};
pub use authorized::{Authorized, Outcome, Prepared, Receipt, Running};
pub use denial::{Denial, DenialKind};
pub use ports::{CatalogError, Catalogs, Hold, Patience, Tell};
