//! SQLSTATE codes that the gateway itself uses. Source: PostgreSQL documentation, appendix "Error Codes".

/// `successful_completion`: the code of notices.
pub const SUCCESSFUL_COMPLETION: &str = "00000";
/// `warning`.
pub const WARNING: &str = "01000";
/// `connection_failure`.
pub const CONNECTION_FAILURE: &str = "08006";
/// `protocol_violation`.
pub const PROTOCOL_VIOLATION: &str = "08P01";
/// `feature_not_supported`.
pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
/// `invalid_parameter_value`.
pub const INVALID_PARAMETER_VALUE: &str = "22023";
/// `division_by_zero`: how a guard fails.
pub const DIVISION_BY_ZERO: &str = "22012";
/// `character_not_in_repertoire`.
pub const CHARACTER_NOT_IN_REPERTOIRE: &str = "22021";
/// `invalid_sql_statement_name`.
pub const INVALID_SQL_STATEMENT_NAME: &str = "26000";
/// `invalid_authorization_specification`.
pub const INVALID_AUTHORIZATION_SPECIFICATION: &str = "28000";
/// `invalid_password`.
pub const INVALID_PASSWORD: &str = "28P01";
/// `invalid_cursor_name`.
pub const INVALID_CURSOR_NAME: &str = "34000";
/// `invalid_catalog_name`: there is no such database.
pub const INVALID_CATALOG_NAME: &str = "3D000";
/// `serialization_failure`: it may work when it is tried again.
pub const SERIALIZATION_FAILURE: &str = "40001";
/// `insufficient_privilege`: the rulebook says no.
pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// `syntax_error`.
pub const SYNTAX_ERROR: &str = "42601";
/// `invalid_name`.
pub const INVALID_NAME: &str = "42602";
/// `undefined_column`.
pub const UNDEFINED_COLUMN: &str = "42703";
/// `undefined_object`.
pub const UNDEFINED_OBJECT: &str = "42704";
/// `undefined_function`.
pub const UNDEFINED_FUNCTION: &str = "42883";
/// `undefined_table`.
pub const UNDEFINED_TABLE: &str = "42P01";
/// `insufficient_resources`.
pub const INSUFFICIENT_RESOURCES: &str = "53000";
/// `too_many_connections`.
pub const TOO_MANY_CONNECTIONS: &str = "53300";
/// `configuration_limit_exceeded`: a ceiling of the gateway.
pub const CONFIGURATION_LIMIT_EXCEEDED: &str = "53400";
/// `program_limit_exceeded`.
pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
/// `query_canceled`.
pub const QUERY_CANCELED: &str = "57014";
/// `admin_shutdown`.
pub const ADMIN_SHUTDOWN: &str = "57P01";
/// `cannot_connect_now`.
pub const CANNOT_CONNECT_NOW: &str = "57P03";
/// `system_error`: the gateway itself can't work.
pub const SYSTEM_ERROR: &str = "58000";
/// A session was idle for longer than it may.
pub const IDLE_SESSION_TIMEOUT: &str = "57P05";
