//! Definitions of everything but relations, by kind alone: their class denies them where definitions are
//! denied, and their inside is not read.

use pg_query::NodeEnum;
use pg_query::protobuf::{DefineStmt, ObjectType};

use crate::sql::facts::Class;

use super::ddl::range_var;
use super::{Outline, Walker};

impl Walker<'_> {
    /// Commands that define other objects; `None` for statements that are not known.
    pub(super) fn ddl_object_command(&mut self, node: &NodeEnum) -> Option<Outline> {
        if let NodeEnum::CreateSchemaStmt(schema) = node {
            // CREATE SCHEMA may create and grant inside.
            for element in &schema.schema_elts {
                self.inner_statement(element);
            }
        }
        if let NodeEnum::CreateStatsStmt(create) = node {
            for range in create.relations.iter().filter_map(range_var) {
                self.defines(Some(range), false);
            }
        }
        let kind = object_kind(node).or_else(|| server_kind(node)).or_else(|| routine_kind(node))?;
        Some(Outline::new(kind, Class::Ddl))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: the caller reports every other kind")]
fn object_kind(node: &NodeEnum) -> Option<&'static str> {
    Some(match node {
        NodeEnum::CreateSchemaStmt(_) => "create_schema",
        NodeEnum::CreateExtensionStmt(_) => "create_extension",
        NodeEnum::AlterExtensionStmt(_) | NodeEnum::AlterExtensionContentsStmt(_) => "alter_extension",
        NodeEnum::CreateDomainStmt(_) => "create_domain",
        NodeEnum::AlterDomainStmt(_) => "alter_domain",
        NodeEnum::CreateEnumStmt(_) | NodeEnum::CompositeTypeStmt(_) | NodeEnum::CreateRangeStmt(_) => {
            "create_type"
        }
        NodeEnum::AlterEnumStmt(_) | NodeEnum::AlterTypeStmt(_) => "alter_type",
        NodeEnum::DefineStmt(define) => define_kind(define),
        NodeEnum::CreateStatsStmt(_) => "create_statistics",
        NodeEnum::AlterStatsStmt(_) => "alter_statistics",
        NodeEnum::AlterCollationStmt(_) => "alter_collation",
        NodeEnum::CreateConversionStmt(_) => "create_conversion",
        NodeEnum::CreateCastStmt(_) => "create_cast",
        NodeEnum::CreateTransformStmt(_) => "create_transform",
        NodeEnum::CreateOpClassStmt(_) => "create_operator_class",
        NodeEnum::CreateOpFamilyStmt(_) => "create_operator_family",
        NodeEnum::AlterOpFamilyStmt(_) => "alter_operator_family",
        NodeEnum::AlterOperatorStmt(_) => "alter_operator",
        NodeEnum::CreateAmStmt(_) => "create_access_method",
        NodeEnum::AlterTsdictionaryStmt(_) => "alter_text_search_dictionary",
        NodeEnum::AlterTsconfigurationStmt(_) => "alter_text_search_configuration",
        NodeEnum::AlterDefaultPrivilegesStmt(_) => "alter_default_privileges",
        _ => return None,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: the caller reports every other kind")]
fn server_kind(node: &NodeEnum) -> Option<&'static str> {
    Some(match node {
        NodeEnum::CreatedbStmt(_) => "create_database",
        NodeEnum::AlterDatabaseStmt(_)
        | NodeEnum::AlterDatabaseSetStmt(_)
        | NodeEnum::AlterDatabaseRefreshCollStmt(_) => "alter_database",
        NodeEnum::DropdbStmt(_) => "drop_database",
        NodeEnum::AlterSystemStmt(_) => "alter_system",
        NodeEnum::CreateRoleStmt(_) => "create_role",
        NodeEnum::AlterRoleStmt(_) | NodeEnum::AlterRoleSetStmt(_) => "alter_role",
        NodeEnum::DropRoleStmt(_) => "drop_role",
        NodeEnum::GrantRoleStmt(grant) => match grant.is_grant {
            true => "grant_role",
            false => "revoke_role",
        },
        NodeEnum::DropOwnedStmt(_) => "drop_owned",
        NodeEnum::ReassignOwnedStmt(_) => "reassign_owned",
        NodeEnum::CreateTableSpaceStmt(_) => "create_tablespace",
        NodeEnum::DropTableSpaceStmt(_) => "drop_tablespace",
        NodeEnum::AlterTableSpaceOptionsStmt(_) => "alter_tablespace",
        NodeEnum::AlterTableMoveAllStmt(_) => "alter_table",
        NodeEnum::CreateFdwStmt(_) => "create_foreign_data_wrapper",
        NodeEnum::AlterFdwStmt(_) => "alter_foreign_data_wrapper",
        NodeEnum::CreateForeignServerStmt(_) => "create_server",
        NodeEnum::AlterForeignServerStmt(_) => "alter_server",
        NodeEnum::CreateUserMappingStmt(_) => "create_user_mapping",
        NodeEnum::AlterUserMappingStmt(_) => "alter_user_mapping",
        NodeEnum::DropUserMappingStmt(_) => "drop_user_mapping",
        NodeEnum::ImportForeignSchemaStmt(_) => "import_foreign_schema",
        NodeEnum::CreatePublicationStmt(_) => "create_publication",
        NodeEnum::AlterPublicationStmt(_) => "alter_publication",
        NodeEnum::CreateSubscriptionStmt(_) => "create_subscription",
        NodeEnum::AlterSubscriptionStmt(_) => "alter_subscription",
        NodeEnum::DropSubscriptionStmt(_) => "drop_subscription",
        _ => return None,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: the caller reports every other kind")]
fn routine_kind(node: &NodeEnum) -> Option<&'static str> {
    Some(match node {
        NodeEnum::CreateFunctionStmt(create) => match create.is_procedure {
            true => "create_procedure",
            false => "create_function",
        },
        NodeEnum::AlterFunctionStmt(alter) => match alter.objtype() {
            ObjectType::ObjectProcedure => "alter_procedure",
            _ => "alter_function",
        },
        NodeEnum::CreateEventTrigStmt(_) => "create_event_trigger",
        NodeEnum::AlterEventTrigStmt(_) => "alter_event_trigger",
        NodeEnum::CreatePlangStmt(_) => "create_language",
        _ => return None,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the grammar makes no other kind here")]
fn define_kind(define: &DefineStmt) -> &'static str {
    match define.kind() {
        ObjectType::ObjectAggregate => "create_aggregate",
        ObjectType::ObjectOperator => "create_operator",
        ObjectType::ObjectCollation => "create_collation",
        ObjectType::ObjectTsparser => "create_text_search_parser",
        ObjectType::ObjectTsdictionary => "create_text_search_dictionary",
        ObjectType::ObjectTstemplate => "create_text_search_template",
        ObjectType::ObjectTsconfiguration => "create_text_search_configuration",
        _ => "create_type",
    }
}
