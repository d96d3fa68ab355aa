//! `portcullis demo --tour`: a walk through the demo as real clients. Every line of the transcript is made from
//! a live reply, and every reply is held against what it must be.
//!
//! What is in the database is asked from PostgreSQL itself, past the gateway: a mask is a mask only if the truth
//! is another.

mod agent;
mod person;
mod transcript;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::audit::{self, Event};
use crate::cli::audit::line;
use crate::cli::console::Console;
use crate::cli::output::Output;

use super::shop;
use super::stage::{Remains, Stage};

use agent::{Agent, rows, word};
use person::{Answer, Person};
use transcript::Transcript;

/// Walks through everything, then stops and removes it. False if any reply was not what it must be.
pub(super) async fn walk(stage: Stage, output: &mut Output) -> anyhow::Result<bool> {
    let mut tour = Tour::begin(&stage, Transcript::new(output)).await?;
    tour.masked_rows_by_both_doors().await?;
    tour.expressions_see_the_mask_too().await?;
    tour.who_may_see_does().await?;
    tour.what_is_denied().await?;
    tour.a_write_waits_and_runs().await?;
    tour.a_write_waits_and_is_denied().await?;
    let mut transcript = tour.end().await?;
    let remains = stage.close().await;
    the_ledger_has_it_all(&remains, &mut transcript)?;
    remains.remove().await?;
    Ok(transcript.end()?)
}

/// Everyone who takes part.
struct Tour<'a> {
    transcript: Transcript<'a>,
    /// An analyst, by the wire. She owns `bot`.
    ana: Person,
    /// A database administrator, by the wire.
    dora: Person,
    /// The agent's program, by the wire.
    bot: Person,
    /// The agent itself, by MCP.
    bot_tools: Agent,
    /// The owner's hands on the console.
    ana_console: Console,
    /// The approver's hands on the console.
    priya_console: Console,
    /// PostgreSQL itself.
    truth: Person,
}

impl<'a> Tour<'a> {
    async fn begin(stage: &Stage, transcript: Transcript<'a>) -> anyhow::Result<Self> {
        let addresses = stage.addresses();
        let wire = |name: &'static str| async move {
            Person::log_in(addresses.wire, name, stage.token(name)?.expose(), shop::NAME).await
        };
        let console_url = format!("http://{}", addresses.console);
        let console = |name: &str| Console::new(&console_url, stage.token(name)?.clone());
        Ok(Self {
            transcript,
            ana: wire("ana").await?,
            dora: wire("dora").await?,
            bot: wire("support-bot").await?,
            bot_tools: Agent::connect(addresses.mcp, stage.token("support-bot")?.expose()).await?,
            ana_console: console("ana")?,
            priya_console: console("priya")?,
            truth: Person::direct(stage.cluster(), shop::NAME).await?,
        })
    }

    async fn end(self) -> anyhow::Result<Transcript<'a>> {
        self.bot_tools.leave().await;
        Ok(self.transcript)
    }

    async fn masked_rows_by_both_doors(&mut self) -> anyhow::Result<()> {
        let sql = "SELECT id, name, email, ssn FROM customers ORDER BY id LIMIT 3";
        let truth = self.truth.rows(sql).await?;

        self.transcript.scene("An analyst reads customers, as if the gateway were PostgreSQL")?;
        self.transcript.types("ana", sql)?;
        let seen = self.ana.ask(sql).await?;
        self.transcript.answer(&seen)?;
        let seen = seen.into_rows();
        self.transcript
            .expect("names are those in the database", seen.column("name") == truth.column("name"))?;
        let hidden = ["email", "ssn"].iter().all(|column| seen.shares_nothing(&truth, column));
        self.transcript.expect("e-mails and social security numbers are not", hidden && seen.len() == 3)?;

        self.transcript.scene("Her agent reads them by an MCP tool: the same gate, the same rows")?;
        self.transcript.calls("support-bot", "query", &json!({ "sql": sql }))?;
        let reply = self.bot_tools.call("query", json!({ "sql": sql })).await?;
        let by_tool = rows(&reply);
        self.transcript.replies(&reply, &["/status", "/denial/message", "/error/message"])?;
        self.transcript.answer(&Answer::Rows(by_tool.clone()))?;
        self.transcript.expect("both doors show the same", by_tool == seen && seen.len() == 3)
    }

    async fn expressions_see_the_mask_too(&mut self) -> anyhow::Result<()> {
        self.transcript.scene("Expressions are computed from the mask, so there is nothing to unmask")?;
        let sql = "SELECT reverse(ssn) AS a, substr(card_number, 13) AS b, md5(email) AS c, to_json(c) ->> 'phone' AS d \
                   FROM customers c WHERE id = 11";
        let truth = self.truth.rows(sql).await?;
        self.transcript.types("support-bot", sql)?;
        let seen = self.bot.ask(sql).await?;
        self.transcript.answer(&seen)?;
        let seen = seen.into_rows();
        let hidden = ["a", "b", "c", "d"].iter().all(|column| seen.shares_nothing(&truth, column));
        self.transcript
            .expect("no expression gives what it gives on the real values", hidden && seen.len() == 1)?;

        let ssn = self.truth.rows("SELECT ssn FROM customers WHERE id = 11").await?.first();
        let sql = format!("SELECT count(*) FROM customers WHERE ssn = '{ssn}'");
        self.transcript.types("support-bot", &sql)?;
        let seen = self.bot.ask(&sql).await?;
        self.transcript.answer(&seen)?;
        let found = (self.truth.rows(&sql).await?.first(), seen.into_rows().first());
        self.transcript.expect(
            "a guess can't be confirmed: one such row exists, none is found",
            found == ("1".into(), "0".into()),
        )
    }

    async fn who_may_see_does(&mut self) -> anyhow::Result<()> {
        self.transcript.scene("A database administrator may see: one rulebook, another group")?;
        let sql = "SELECT email, ssn FROM customers WHERE id = 11";
        let truth = self.truth.rows(sql).await?;
        self.transcript.types("dora", sql)?;
        let seen = self.dora.ask(sql).await?;
        self.transcript.answer(&seen)?;
        self.transcript.expect("the values are those in the database", seen.into_rows() == truth)
    }

    async fn what_is_denied(&mut self) -> anyhow::Result<()> {
        self.transcript.scene("What is denied says which rule did it, and what would work")?;
        let denied = [
            ("support-bot", "DROP TABLE orders", "ddl"),
            ("ana", "DELETE FROM tickets", "no_where"),
            ("ana", "DELETE FROM tickets WHERE id = id OR true", "no_where"),
            ("support-bot", "SELECT * FROM hr.payroll", "read_scope"),
        ];
        for (name, sql, rule) in denied {
            let person = if name == "ana" { &mut self.ana } else { &mut self.bot };
            self.transcript.types(name, sql)?;
            let answer = person.ask(sql).await?;
            self.transcript.answer(&answer)?;
            let right =
                answer.refusal().is_some_and(|refusal| refusal.sqlstate == "42501" && refusal.names(rule));
            self.transcript.expect(&format!("denied by rule `{rule}`"), right)?;
        }
        let count = "SELECT (SELECT count(*) FROM orders) || ' orders, ' || (SELECT count(*) FROM tickets) || ' tickets'";
        let left = self.truth.rows(count).await?.first();
        self.transcript.expect(&format!("nothing is gone: {left}"), left == "100000 orders, 2000 tickets")
    }

    async fn a_write_waits_and_runs(&mut self) -> anyhow::Result<()> {
        self.transcript.scene("A risky write waits for a person, while the client's statement is held")?;
        let sql = "UPDATE orders SET status = 'cancelled' WHERE id = 4711";
        let status = "SELECT status FROM orders WHERE id = 4711";
        let before = self.truth.rows(status).await?.first();
        self.transcript.types("support-bot", sql)?;
        let mut held = self.bot.start(sql);
        let Some(notice) = self.bot.notice(&mut held).await? else {
            self.transcript.answer(&held.answer().await?)?;
            return self.transcript.expect("it waits", false);
        };
        self.transcript.says(&notice)?;
        let id = self.waiting_for(sql).await?;
        self.transcript
            .expect("it waits, and nothing has changed", self.truth.rows(status).await?.first() == before)?;

        let own =
            self.ana_console.post(&format!("approvals/{id}/approve"), &json!({ "note": "it's mine" })).await;
        self.transcript.answers("ana, who owns the agent, approves", own.as_ref().map(word))?;
        self.transcript.expect("an owner can't approve for their agent", own.is_err())?;

        let note = json!({ "note": "customer called, order not shipped" });
        let vote = self.priya_console.post(&format!("approvals/{id}/approve"), &note).await;
        self.transcript.answers("priya approves", vote.as_ref().map(word))?;
        let answer = held.answer().await?;
        self.transcript.answer(&answer)?;
        self.transcript.expect("the held statement has run", answer == Answer::Done(1))?;
        let after = self.truth.rows(status).await?.first();
        self.transcript.expect(
            &format!("order 4711 went from {before} to {after}"),
            after == "cancelled" && before != after,
        )
    }

    async fn a_write_waits_and_is_denied(&mut self) -> anyhow::Result<()> {
        self.transcript.scene("Another write waits, by MCP, and a person says no")?;
        let sql = "UPDATE orders SET status = 'returned' WHERE customer_id = 501";
        let count = "SELECT count(*) FROM orders WHERE customer_id = 501 AND status = 'returned'";
        let before = self.truth.rows(count).await?.first();
        let arguments = json!({ "sql": sql, "reason": "customer asked to return everything", "wait_s": 0 });
        self.transcript.calls("support-bot", "execute", &arguments)?;
        let pending = self.bot_tools.call("execute", arguments).await?;
        self.transcript.replies(&pending, &["/status", "/approval_id"])?;
        self.transcript.expect("the agent is told that it waits", word(&pending) == "pending_approval")?;
        let id = pending.get("approval_id").and_then(Value::as_str).unwrap_or_default().to_owned();

        let note = json!({ "note": "one order at a time, please" });
        let vote = self.priya_console.post(&format!("approvals/{id}/deny"), &note).await;
        self.transcript.answers("priya denies", vote.as_ref().map(word))?;
        let arguments = json!({ "approval_id": id });
        self.transcript.calls("support-bot", "run_approved", &arguments)?;
        let outcome = self.bot_tools.call("run_approved", arguments).await?;
        self.transcript.replies(&outcome, &["/status", "/denial/message", "/approval/approver_note"])?;
        self.transcript.expect("the agent gets the no, with its reason", {
            word(&outcome) == "denied" && outcome.to_string().contains("one order at a time")
        })?;
        let after = self.truth.rows(count).await?.first();
        self.transcript.expect("nothing has changed", before == after)
    }

    /// The id of the one request that waits for exactly `sql`, as the approver's console lists it.
    async fn waiting_for(&self, sql: &str) -> anyhow::Result<String> {
        let answer = self.priya_console.get("approvals?state=pending").await?;
        let list =
            answer.get("approvals").unwrap_or(&answer).as_array().context("the console lists nothing")?;
        let ids = list.iter().filter(|request| request.get("statement").and_then(Value::as_str) == Some(sql));
        let ids: Vec<&str> = ids.filter_map(|request| request.get("id").and_then(Value::as_str)).collect();
        match ids.as_slice() {
            [id] => Ok((*id).to_owned()),
            ids => bail!("{} requests wait for `{sql}` where one should", ids.len()),
        }
    }
}

/// Reads the ledger where the gateway left it.
fn the_ledger_has_it_all(remains: &Remains, transcript: &mut Transcript<'_>) -> anyhow::Result<()> {
    transcript.scene("The ledger has it all, and its chain holds")?;
    let folder = remains.ledger();
    transcript.command("portcullis audit tail --who support-bot -n 8")?;
    for entry in audit::tail(&folder, 8, |entry| entry.record.identity == "support-bot")? {
        transcript.says(&line(&entry))?;
    }
    let decisions =
        audit::tail(&folder, usize::MAX, |entry| matches!(entry.record.event, Event::Decided(_)))?;
    let decided = |wanted: &str, statement: &str| {
        decisions.iter().any(|entry| {
            let Event::Decided(decided) = &entry.record.event else { return false };
            decided.decision == wanted && decided.statement == statement
        })
    };
    transcript.expect(
        "denied and approved statements are there, word by word",
        decided("deny", "DROP TABLE orders")
            && decided("allow", "UPDATE orders SET status = 'cancelled' WHERE id = 4711"),
    )?;
    transcript.command("portcullis audit verify")?;
    let verified = audit::verify(&folder);
    match &verified {
        Ok(verified) => transcript.says(&format!("the chain holds: {} records", verified.records))?,
        Err(error) => transcript.says(&error.to_string())?,
    }
    transcript.expect("nobody has changed a record", verified.is_ok_and(|verified| verified.records > 20))
}
