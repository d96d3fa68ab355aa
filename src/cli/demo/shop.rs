//! The sample database `shop`: customers, orders, tickets and a payroll, with everything that should not leak.
//!
//! The rows are the same on every run and every server version. The gateway's own roles get the least that it
//! needs: the one that serves masked identities can't read the governed columns at all.

use std::fmt;

use super::cluster::{Cluster, ClusterError};

/// The database's name.
pub const NAME: &str = "shop";

/// The upstream role for everyone whose view is masked.
pub const SERVICE_USER: &str = "portcullis_svc";

/// The upstream role for those who may read everything.
pub const FULL_USER: &str = "portcullis_full";

/// The passwords of the gateway's roles, random for every load.
pub struct Loaded {
    /// Of [`SERVICE_USER`].
    pub service_password: String,
    /// Of [`FULL_USER`].
    pub full_password: String,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loaded(..)")
    }
}

/// Makes the database in `cluster` and fills it.
///
/// # Errors
/// When the server refuses.
pub async fn load(cluster: &Cluster) -> Result<Loaded, ClusterError> {
    let loaded = Loaded { service_password: password(), full_password: password() };
    // The passwords are hexadecimal and the names constant: there is nothing to quote.
    let roles = format!(
        "CREATE ROLE {SERVICE_USER} {LEAST} PASSWORD '{}'; CREATE ROLE {FULL_USER} {LEAST} PASSWORD '{}'",
        loaded.service_password, loaded.full_password
    );
    cluster.execute_sql("postgres", &roles).await?;
    cluster.execute_sql("postgres", &format!("CREATE DATABASE {NAME}")).await?;
    cluster.execute_sql(NAME, &format!("BEGIN;\n{SCHEMA}\n{ROWS}\n{ROLES}\nCOMMIT;")).await?;
    Ok(loaded)
}

fn password() -> String {
    format!("{:032x}", rand::random::<u128>())
}

const LEAST: &str = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS";
const SCHEMA: &str = include_str!("shop/schema.sql");
const ROWS: &str = include_str!("shop/rows.sql");
const ROLES: &str = include_str!("shop/roles.sql");

#[cfg(test)]
mod tests {
    use tokio_postgres::NoTls;
    use tokio_postgres::error::SqlState;

    use super::*;

    async fn count(client: &tokio_postgres::Client, condition: &str) -> i64 {
        client.query_one(&format!("SELECT count(*) FROM {condition}"), &[]).await.unwrap().get(0)
    }

    #[tokio::test]
    async fn the_shop_is_full_and_the_service_role_can_not_read_what_is_governed() {
        let cluster = Cluster::start().await.unwrap();
        let loaded = load(&cluster).await.unwrap();
        let admin = cluster.connect(NAME).await.unwrap();
        assert_eq!(count(&admin, "customers").await, 10_000);
        assert_eq!(count(&admin, "orders").await, 100_000);
        assert_eq!(count(&admin, "customer_overview WHERE orders > 0").await, 10_000);
        assert_eq!(count(&admin, "customers WHERE notes LIKE '%' || card_number || '%'").await, 200);
        let first: String = admin
            .query_one("SELECT email || ' ' || ssn || ' ' || card_number FROM customers WHERE id = 11", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(first, "yusuf.fischer11@example.org 267-01-4875 4000008561541603");

        let service = connect(&cluster, SERVICE_USER, &loaded.service_password).await;
        assert_eq!(count(&service, "customers").await, 10_000);
        service.simple_query("SELECT ctid, tableoid, id, name, notes FROM customers LIMIT 1").await.unwrap();
        service.simple_query("UPDATE orders SET status = 'paid' WHERE id = 1").await.unwrap();
        for forbidden in [
            "SELECT email FROM customers",
            "SELECT c FROM customers c",
            "SELECT count(*) FROM customers WHERE ssn LIKE '1%'",
            "SELECT email FROM customer_overview",
            "SELECT * FROM customer_by_email('yusuf.fischer11@example.org')",
            "SELECT salary FROM hr.payroll",
            "UPDATE customers SET notes = email",
            "CREATE TEMP TABLE t (x int)",
            "CREATE TABLE public.t (x int)",
            "COPY products TO PROGRAM 'cat'",
            "SELECT pg_read_file('postgresql.conf')",
            "SET ROLE portcullis_full",
        ] {
            let error = service.simple_query(forbidden).await.expect_err(forbidden);
            assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{forbidden}: {error:?}");
        }

        let full = connect(&cluster, FULL_USER, &loaded.full_password).await;
        assert_eq!(count(&full, "hr.payroll WHERE salary > 0").await, 240);
        cluster.stop().await.unwrap();
    }

    async fn connect(cluster: &Cluster, user: &str, password: &str) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(cluster.port())
            .user(user)
            .password(password)
            .dbname(NAME)
            .connect(NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }
}
