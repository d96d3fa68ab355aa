// pgjdbc at the wire door of a running demo, in each of its query modes.
//
// Arguments: HOST:PORT, user, password. Prints one line a check, and exits with 1 if any failed.

import java.io.StringWriter;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Timestamp;
import org.postgresql.PGConnection;

public final class JdbcSmoke {
    private static final String MASK = "***-**-****";
    private static int failures = 0;

    private interface Check {
        void run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:postgresql://" + arguments[0] + "/shop?preferQueryMode=";
        for (String mode : new String[] {"extended", "simple", "extendedForPrepared", "extendedCacheEverything"}) {
            try (Connection connection = DriverManager.getConnection(url + mode, arguments[1], arguments[2])) {
                all(mode, connection);
            }
        }
        System.exit(failures == 0 ? 0 : 1);
    }

    private static void all(String mode, Connection connection) throws SQLException {
        check(mode, "metadata", () -> metadata(connection.getMetaData()));
        check(mode, "fetch_size", () -> fetchSize(connection));
        check(mode, "parameters", () -> parameters(connection));
        check(mode, "batch", () -> batch(connection));
        check(mode, "savepoint", () -> savepoint(connection));
        check(mode, "session", () -> session(connection));
        check(mode, "timeout", () -> timeout(connection));
        check(mode, "copy", () -> copy(connection));
        check(mode, "discard", () -> discard(connection));
    }

    private static void check(String mode, String name, Check check) {
        try {
            check.run();
            System.out.println("ok      jdbc_" + mode + "_" + name);
        } catch (Exception | AssertionError error) {
            failures += 1;
            System.out.println("FAILED  jdbc_" + mode + "_" + name);
            error.printStackTrace();
        }
    }

    private static void metadata(DatabaseMetaData data) throws SQLException {
        that(rows(data.getTables(null, "public", "%", null)) >= 5, "tables");
        that(rows(data.getColumns(null, "public", "customers", "%")) == 11, "columns");
        that(rows(data.getPrimaryKeys(null, "public", "orders")) == 1, "primary keys");
        that(rows(data.getImportedKeys(null, "public", "orders")) == 2, "imported keys");
        that(rows(data.getExportedKeys(null, "public", "customers")) == 2, "exported keys");
        that(rows(data.getIndexInfo(null, "public", "orders", false, false)) >= 4, "indexes");
        that(rows(data.getSchemas()) >= 2, "schemas");
        that(rows(data.getFunctions(null, "public", "%")) == 1, "functions");
        rows(data.getTypeInfo());
        rows(data.getUDTs(null, null, "%", null));
        rows(data.getProcedures(null, null, "%"));
        rows(data.getTablePrivileges(null, "public", "%"));
        rows(data.getColumnPrivileges(null, "public", "orders", "%"));
        rows(data.getBestRowIdentifier(null, "public", "orders", 0, false));
        that(data.getMaxColumnNameLength() == 63, "name length");
    }

    private static void fetchSize(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(50);
            ResultSet result = statement.executeQuery("SELECT ssn FROM customers ORDER BY id LIMIT 500");
            int seen = 0;
            for (; result.next(); seen++) {
                that(MASK.equals(result.getString(1)), "mask");
            }
            that(seen == 500, "rows");
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    // From the fifth time on, the driver prepares under a name and takes binary results.
    private static void parameters(Connection connection) throws SQLException {
        String sql = "SELECT id, ssn, created_at, ? AS at FROM customers WHERE id = ANY (?)";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int id = 1; id < 12; id++) {
                statement.setTimestamp(1, new Timestamp(0));
                statement.setArray(2, connection.createArrayOf("int4", new Integer[] {id}));
                ResultSet result = statement.executeQuery();
                that(result.next() && result.getInt(1) == id && MASK.equals(result.getString(2)), "row");
                that("ssn".equals(result.getMetaData().getColumnName(2)), "name");
            }
        }
        try (Statement statement = connection.createStatement()) {
            that(statement.execute("SELECT 1; SELECT 2") && statement.getMoreResults(), "two results");
        }
    }

    private static void batch(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("DELETE FROM tickets WHERE id = ? OR true")) {
            for (int id = 0; id < 3; id++) {
                statement.setInt(1, id);
                statement.addBatch();
            }
            statement.executeBatch();
            throw new AssertionError("a denied batch went through");
        } catch (BatchUpdateException denied) {
            that("42501".equals(denied.getNextException().getSQLState()), denied.toString());
        }
        that(one(connection, "SELECT count(*) FROM tickets").equals("2000"), "nothing is gone");
    }

    private static void savepoint(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        Savepoint before = connection.setSavepoint("before");
        fails(connection, "SELECT 1 / 0", "22012");
        connection.rollback(before);
        that(one(connection, "SELECT 1").equals("1"), "goes on");
        connection.commit();
        connection.setAutoCommit(true);
    }

    private static void session(Connection connection) throws SQLException {
        connection.setReadOnly(true);
        connection.setReadOnly(false);
        connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        connection.setClientInfo("ApplicationName", "smoke");
        that("public".equals(connection.getSchema()), "schema");
        that(connection.isValid(5), "valid");
    }

    private static void timeout(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            statement.executeQuery("SELECT pg_sleep(60)");
            throw new AssertionError("not cancelled");
        } catch (SQLException cancelled) {
            that("57014".equals(cancelled.getSQLState()), cancelled.toString());
        }
    }

    private static void copy(Connection connection) throws Exception {
        StringWriter out = new StringWriter();
        String sql = "COPY (SELECT ssn FROM customers LIMIT 100) TO STDOUT";
        that(connection.unwrap(PGConnection.class).getCopyAPI().copyOut(sql, out) == 100, "rows");
        that(out.toString().replace(MASK + "\n", "").isEmpty(), "masks");
    }

    // The driver prepares again what DISCARD has dropped.
    private static void discard(Connection connection) throws SQLException {
        that(one(connection, "SELECT 1").equals("1"), "before");
        try (Statement statement = connection.createStatement()) {
            statement.execute("DISCARD ALL");
        }
        that(one(connection, "SELECT 1").equals("1"), "after");
    }

    private static String one(Connection connection, String sql) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            ResultSet result = statement.executeQuery();
            that(result.next(), "a row");
            return result.getString(1);
        }
    }

    private static void fails(Connection connection, String sql, String state) throws SQLException {
        try {
            one(connection, sql);
            throw new AssertionError(sql + " went through");
        } catch (SQLException error) {
            that(state.equals(error.getSQLState()), error.toString());
        }
    }

    private static int rows(ResultSet result) throws SQLException {
        int count = 0;
        while (result.next()) {
            count += 1;
        }
        return count;
    }

    private static void that(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
