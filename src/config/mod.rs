//! The configuration: as written (`raw`), and as meant ([`Settings`]).
//!
//! One TOML file with strict keys. Everything enters here and leaves typed: [`load`] reads the file, follows the
//! secrets it points at, and returns [`Settings`], or one [`ConfigError`] that says where and what. There are no
//! warnings: what is not understood does not start. This is also the only room that reads the environment, and
//! the one that reads the folders of policies and identities ([`sources`]).
//!
//! ```toml
//! [[database]]
//! name = "shop"
//! url  = "postgres://portcullis_svc@127.0.0.1:5432/shop"
//! password_env = "SHOP_PASSWORD"
//! ```

mod control;
mod database;
pub mod environment;
mod error;
mod mcp;
mod raw;
pub mod secret;
mod settings;
pub mod sources;
mod systems;
mod transport;
mod url;
mod wire;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use error::{ConfigError, Place};
pub use mcp::McpSettings;
pub use secret::Secret;
pub use settings::{Folders, Settings};

/// Reads `path` and everything it points at, except policies and identities.
///
/// # Errors
/// Names the file and line of the first thing that can't be used, and what would be right.
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { file: path.to_owned(), source })?;
    parse(path, &text)
}

/// Reads which folders `path` names, without following any secret: for commands that need nothing else.
///
/// # Errors
/// As [`load`], for what is wrong with the file itself.
pub fn folders(path: &Path) -> Result<Folders, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { file: path.to_owned(), source })?;
    let document = error::Document { path, text: &text };
    let raw = toml::from_str(&text).map_err(|error| document.refuse_toml(&error))?;
    Ok(settings::folders(&document, &raw))
}

/// Reads where `path` has the MCP endpoint: a URL that clients of this machine can use. Follows no secret.
///
/// # Errors
/// As [`load`], for what is wrong with the file itself.
pub fn mcp_endpoint(path: &Path) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { file: path.to_owned(), source })?;
    let document = error::Document { path, text: &text };
    let raw: raw::File = toml::from_str(&text).map_err(|error| document.refuse_toml(&error))?;
    Ok(format!("http://{}/mcp", raw.mcp.listen.as_ref()))
}

/// Like [`load`], for a text that has been read. `path` is where it is from: relative paths start there.
///
/// # Errors
/// As [`load`].
pub fn parse(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    let document = error::Document { path, text };
    let raw = toml::from_str(text).map_err(|error| document.refuse_toml(&error))?;
    settings::mean(&document, raw)
}
