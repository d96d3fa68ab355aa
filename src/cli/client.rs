//! What MCP clients are set up with: a block to paste for each. It says where the token is, and never what it is.
//!
//! Two ways lead to a gateway. Where the token is in a file, the client starts the relay, which reads it: one paste, and
//! nothing to set. Else the client speaks HTTP itself, with a token from its environment.

use std::borrow::Cow;
use std::path::PathBuf;

use anyhow::bail;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

/// A program that agents run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Client {
    /// Claude Code, by its own command
    ClaudeCode,
    /// Claude Code, by the `.mcp.json` of a project
    ClaudeCodeProject,
    /// Claude Desktop
    ClaudeDesktop,
    /// Codex
    Codex,
    /// Cursor
    Cursor,
    /// Visual Studio Code
    #[value(name = "vscode")]
    VisualStudioCode,
}

/// How a client reaches a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Connection {
    /// The gateway's MCP endpoint.
    pub(super) url: String,
    /// Where the client's token is.
    pub(super) token: TokenPlace,
}

/// Where a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenPlace {
    /// In a file that the relay reads; `program` is this one.
    File { program: PathBuf, file: PathBuf },
    /// In the client's environment, as [`VARIABLE`].
    Environment,
}

/// What to paste, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it goes, and what it needs there, in words.
    pub(super) place: String,
    /// The text.
    pub(super) text: String,
}

impl Connection {
    /// The block for `client`.
    pub(super) fn block(&self, client: Client) -> anyhow::Result<Block> {
        let text = match client {
            Client::ClaudeCode => self.command_line(),
            Client::ClaudeCodeProject => {
                let mut server = self.server("${PORTCULLIS_TOKEN}", Some("http"));
                if let (TokenPlace::Environment, Some(server)) = (&self.token, server.as_object_mut()) {
                    server.insert("timeout".to_owned(), json!(PATIENCE_MS));
                }
                pretty(&json!({ "mcpServers": { NAME: server } }))?
            }
            Client::ClaudeDesktop if self.token == TokenPlace::Environment => bail!(
                "Claude Desktop only starts programs, and hands them no secret of yours: put the token into a file and \
                 give --token-file FILE"
            ),
            Client::ClaudeDesktop => pretty(&json!({ "mcpServers": { NAME: self.server("", None) } }))?,
            Client::Codex => self.codex()?,
            Client::Cursor => {
                pretty(&json!({ "mcpServers": { NAME: self.server("${env:PORTCULLIS_TOKEN}", None) } }))?
            }
            Client::VisualStudioCode => pretty(&self.visual_studio_code())?,
        };
        Ok(Block { place: self.place(client), text })
    }

    fn place(&self, client: Client) -> String {
        let place = match client {
            Client::ClaudeCode => "Claude Code, in a terminal",
            Client::ClaudeCodeProject => "Claude Code, in the project's .mcp.json",
            Client::ClaudeDesktop => {
                "Claude Desktop, in claude_desktop_config.json (Settings, Developer, Edit Config)"
            }
            Client::Codex => "Codex, in ~/.codex/config.toml",
            Client::Cursor => "Cursor, in ~/.cursor/mcp.json or the project's .cursor/mcp.json",
            Client::VisualStudioCode => "Visual Studio Code, in the project's .vscode/mcp.json",
        };
        match (&self.token, client) {
            (TokenPlace::File { .. }, _) => place.to_owned(),
            (TokenPlace::Environment, Client::VisualStudioCode) => format!("{place}; it asks for the token"),
            (TokenPlace::Environment, _) => format!("{place}; start it with the token as {VARIABLE}"),
        }
    }

    /// One line for a shell.
    fn command_line(&self) -> String {
        let words: Vec<Cow<'_, str>> = match &self.token {
            TokenPlace::File { .. } => {
                let relay = self.relay();
                let add = ["claude", "mcp", "add", NAME, "--"].map(Cow::Borrowed);
                add.into_iter().chain(relay.into_iter().map(Cow::Owned)).collect()
            }
            TokenPlace::Environment => {
                let header = "Authorization: Bearer ${PORTCULLIS_TOKEN}";
                ["claude", "mcp", "add", "--transport", "http", NAME, &self.url, "--header", header]
                    .map(Cow::Borrowed)
                    .into()
            }
        };
        words.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ")
    }

    /// The relay's command line.
    fn relay(&self) -> Vec<String> {
        match &self.token {
            TokenPlace::File { program, file } => {
                let (program, file) = (program.display().to_string(), file.display().to_string());
                vec![program, "mcp".into(), "--url".into(), self.url.clone(), "--token-file".into(), file]
            }
            TokenPlace::Environment => Vec::new(),
        }
    }

    /// A server as most clients write it. `token` is how the client refers to its environment, `kind` what it calls
    /// HTTP where it wants to be told.
    fn server(&self, token: &str, kind: Option<&str>) -> Value {
        match (self.relay().split_first(), kind) {
            (Some((program, arguments)), _) => json!({ "command": program, "args": arguments }),
            (None, None) => {
                json!({ "url": self.url, "headers": { "Authorization": format!("Bearer {token}") } })
            }
            (None, Some(kind)) => {
                json!({ "type": kind, "url": self.url, "headers": { "Authorization": format!("Bearer {token}") } })
            }
        }
    }

    fn codex(&self) -> anyhow::Result<String> {
        let relay = self.relay();
        let (command, args) = match relay.split_first() {
            Some((program, arguments)) => (Some(program.as_str()), Some(arguments)),
            None => (None, None),
        };
        let by_http = command.is_none();
        let server = CodexServer {
            command,
            args,
            url: by_http.then_some(self.url.as_str()),
            bearer_token_env_var: by_http.then_some(VARIABLE),
        };
        Ok(format!("[mcp_servers.{NAME}]\n{}", toml::to_string(&server)?.trim_end()))
    }

    /// It asks for the token once, and keeps it where it keeps secrets.
    fn visual_studio_code(&self) -> Value {
        if self.token != TokenPlace::Environment {
            return json!({ "servers": { NAME: self.server("", None) } });
        }
        let input = json!({
            "type": "promptString", "id": "portcullis-token", "description": "Token of your Portcullis agent",
            "password": true,
        });
        json!({ "inputs": [input], "servers": { NAME: self.server("${input:portcullis-token}", Some("http")) } })
    }
}

/// `[mcp_servers.NAME]` of Codex.
#[derive(Debug, Serialize)]
struct CodexServer<'a> {
    command: Option<&'a str>,
    args: Option<&'a [String]>,
    url: Option<&'a str>,
    bearer_token_env_var: Option<&'a str>,
}

fn pretty(value: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)?)
}

/// `word` as a shell reads it.
fn shell_word(word: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

/// What clients call the gateway; tools are then `mcp__portcullis__query` and so on.
const NAME: &str = "portcullis";

/// Where clients have their token, if it is not in a file.
const VARIABLE: &str = "PORTCULLIS_TOKEN";

/// How long Claude Code waits for an answer's first byte, in place of a minute.
const PATIENCE_MS: u64 = 120_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn connections() -> [Connection; 2] {
        let url = "http://127.0.0.1:8432/mcp".to_owned();
        let file = TokenPlace::File {
            program: "/opt/my tools/portcullis".into(),
            file: "/home/me/it's \"a\".token".into(),
        };
        [Connection { url: url.clone(), token: file }, Connection { url, token: TokenPlace::Environment }]
    }

    #[test]
    fn blocks_read_as_what_they_are_written_for() {
        for connection in connections() {
            for client in Client::value_variants() {
                if (*client, &connection.token) == (Client::ClaudeDesktop, &TokenPlace::Environment) {
                    assert!(connection.block(*client).unwrap_err().to_string().contains("--token-file"));
                    continue;
                }
                let text = connection.block(*client).unwrap().text;
                let server = match client {
                    Client::ClaudeCode => continue,
                    Client::Codex => {
                        let block: toml::Table = toml::from_str(&text).unwrap();
                        json!(block["mcp_servers"]["portcullis"])
                    }
                    Client::VisualStudioCode => {
                        serde_json::from_str::<Value>(&text).unwrap()["servers"]["portcullis"].clone()
                    }
                    Client::ClaudeCodeProject | Client::ClaudeDesktop | Client::Cursor => {
                        serde_json::from_str::<Value>(&text).unwrap()["mcpServers"]["portcullis"].clone()
                    }
                };
                match connection.relay().split_first() {
                    Some((program, arguments)) => {
                        assert_eq!(server["command"], json!(program), "{client:?}");
                        assert_eq!(server["args"], json!(arguments), "{client:?}");
                    }
                    None => assert_eq!(server["url"], json!(connection.url), "{client:?}"),
                }
            }
        }
    }

    #[test]
    fn a_token_from_the_environment_is_named_and_never_in_a_block() {
        let [_, by_environment] = connections();
        let text = |client| by_environment.block(client).unwrap().text;
        assert!(text(Client::ClaudeCode).ends_with("'Authorization: Bearer ${PORTCULLIS_TOKEN}'"));
        assert!(text(Client::ClaudeCodeProject).contains("\"Bearer ${PORTCULLIS_TOKEN}\""));
        assert!(text(Client::Codex).contains("bearer_token_env_var = \"PORTCULLIS_TOKEN\""));
        assert!(text(Client::Cursor).contains("\"Bearer ${env:PORTCULLIS_TOKEN}\""));
        assert!(text(Client::VisualStudioCode).contains("\"Bearer ${input:portcullis-token}\""));
    }

    #[test]
    fn a_shell_gets_every_word_as_it_is() {
        let [by_file, _] = connections();
        let line = by_file.block(Client::ClaudeCode).unwrap().text.replacen("claude", "printf '%s\\n'", 1);
        let printed = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
        let words: Vec<&str> = std::str::from_utf8(&printed.stdout).unwrap().lines().collect();
        assert_eq!(words[..4], ["mcp", "add", "portcullis", "--"]);
        assert_eq!(words[4..], by_file.relay());
    }
}
