//! Definitions of relations: CREATE, ALTER, DROP, GRANT, COMMENT, TRUNCATE, and what they touch.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CreateStmt, CreateTableAsStmt, DropStmt, GrantStmt, GrantTargetType, Node, ObjectType, RangeVar,
    RenameStmt,
};

use crate::sql::facts::{Access, Class, Destination};

use super::names::{dotted, range_of_name, strings};
use super::{Outline, Walker};

impl Walker<'_> {
    /// Commands that define relations or change their definition; `None` for any other.
    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: the caller asks the other rooms")]
    pub(super) fn ddl_command(&mut self, node: &NodeEnum) -> Option<Outline> {
        let kind = match node {
            NodeEnum::CreateStmt(create) => self.create(create, "create_table"),
            NodeEnum::CreateForeignTableStmt(create) => match &create.base_stmt {
                Some(base) => self.create(base, "create_foreign_table"),
                None => "create_foreign_table".to_owned(),
            },
            NodeEnum::CreateTableAsStmt(create) => self.create_as(create),
            NodeEnum::ViewStmt(view) => {
                self.defines_new(view.view.as_ref());
                self.inner_query(view.query.as_deref());
                "create_view".to_owned()
            }
            NodeEnum::CreateSeqStmt(create) => self.new_relation(create.sequence.as_ref(), "create_sequence"),
            NodeEnum::AlterSeqStmt(alter) => {
                self.old_relation(alter.sequence.as_ref(), alter.missing_ok, "alter_sequence")
            }
            NodeEnum::IndexStmt(index) => {
                self.definitions(&index.index_params);
                self.defined_by(index.where_clause.as_deref());
                self.old_relation(index.relation.as_ref(), false, "create_index")
            }
            NodeEnum::AlterTableStmt(alter) => {
                self.definitions(&alter.cmds);
                let kind = format!("alter_{}", object_name(alter.objtype()));
                self.old_relation(alter.relation.as_ref(), alter.missing_ok, &kind)
            }
            NodeEnum::CreateTrigStmt(create) => {
                self.trigger_function(&create.funcname);
                self.old_relation(create.relation.as_ref(), false, "create_trigger")
            }
            NodeEnum::RuleStmt(rule) => self.old_relation(rule.relation.as_ref(), false, "create_rule"),
            NodeEnum::CreatePolicyStmt(create) => {
                self.old_relation(create.table.as_ref(), false, "create_policy")
            }
            NodeEnum::AlterPolicyStmt(alter) => {
                self.old_relation(alter.table.as_ref(), false, "alter_policy")
            }
            NodeEnum::DropStmt(drop) => self.drop(drop),
            NodeEnum::GrantStmt(grant) => self.grant(grant),
            NodeEnum::CommentStmt(comment) => {
                self.named_object(comment.objtype(), comment.object.as_deref());
                "comment".to_owned()
            }
            NodeEnum::SecLabelStmt(label) => {
                self.named_object(label.objtype(), label.object.as_deref());
                "security_label".to_owned()
            }
            NodeEnum::TruncateStmt(truncate) => {
                for range in truncate.relations.iter().filter_map(range_var) {
                    if let Some(relation) = self.relation(range) {
                        self.touch(relation, Access::Delete, range.inh);
                    }
                }
                "truncate".to_owned()
            }
            _ => self.alter_object(node)?,
        };
        Some(Outline::new(&kind, Class::Ddl))
    }

    /// ALTER of a name, a schema or an owner, of whatever object.
    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: the caller asks the other rooms")]
    fn alter_object(&mut self, node: &NodeEnum) -> Option<String> {
        Some(match node {
            NodeEnum::RenameStmt(rename) => self.rename(rename),
            NodeEnum::AlterObjectSchemaStmt(alter) => {
                let kind = format!("alter_{}", object_name(alter.object_type()));
                self.old_relation(alter.relation.as_ref(), alter.missing_ok, &kind)
            }
            NodeEnum::AlterOwnerStmt(alter) => {
                let kind = format!("alter_{}", object_name(alter.object_type()));
                self.old_relation(alter.relation.as_ref(), false, &kind)
            }
            NodeEnum::AlterObjectDependsStmt(alter) => {
                let kind = format!("alter_{}", object_name(alter.object_type()));
                self.old_relation(alter.relation.as_ref(), false, &kind)
            }
            _ => return None,
        })
    }

    fn create(&mut self, create: &CreateStmt, kind: &str) -> String {
        self.defines_new(create.relation.as_ref());
        self.definitions(&create.table_elts);
        self.definitions(&create.inh_relations);
        kind.to_owned()
    }

    fn trigger_function(&mut self, name: &[Node]) {
        let known = match strings(name).as_slice() {
            [name] => self.record_call(None, name),
            [.., schema, name] => self.record_call(Some(schema), name),
            [] => false,
        };
        if !known {
            self.unresolved("function", &dotted(name), "does not exist or is not visible to you");
        }
    }

    fn create_as(&mut self, create: &CreateTableAsStmt) -> String {
        self.inner_query(create.query.as_deref());
        if let Some(into) = &create.into {
            self.into(into);
        }
        match create.objtype() == ObjectType::ObjectMatview {
            true => "create_materialized_view".to_owned(),
            false => "create_table_as".to_owned(),
        }
    }

    /// The query inside a definition.
    fn inner_query(&mut self, query: Option<&Node>) {
        self.destinations.insert(Destination::Table);
        if let Some(query) = query {
            self.inner_statement(query);
        }
    }

    fn rename(&mut self, rename: &RenameStmt) -> String {
        let inside =
            matches!(rename.rename_type(), ObjectType::ObjectColumn | ObjectType::ObjectTabconstraint);
        let what = if inside { rename.relation_type() } else { rename.rename_type() };
        let kind = format!("alter_{}", object_name(what));
        self.old_relation(rename.relation.as_ref(), rename.missing_ok, &kind)
    }

    fn drop(&mut self, drop: &DropStmt) -> String {
        for object in &drop.objects {
            let Some(NodeEnum::List(name)) = object.node.as_ref() else { continue };
            self.dropped(drop.remove_type(), &name.items, drop.missing_ok);
        }
        format!("drop_{}", object_name(drop.remove_type()))
    }

    fn dropped(&mut self, what: ObjectType, name: &[Node], missing_ok: bool) {
        let range = if is_relation(what) { range_of_name(name) } else { owner_of(what, name) };
        // An index is no relation that facts list, so one that the catalog does not know is passed over.
        let is_index = what == ObjectType::ObjectIndex;
        if let Some(range) = range {
            self.defines(Some(&range), missing_ok || is_index);
        }
    }

    fn grant(&mut self, grant: &GrantStmt) -> String {
        let on_relations = matches!(grant.objtype(), ObjectType::ObjectTable | ObjectType::ObjectSequence);
        if on_relations && grant.targtype() == GrantTargetType::AclTargetObject {
            for range in grant.objects.iter().filter_map(range_var) {
                self.defines(Some(range), false);
            }
        }
        if grant.is_grant { "grant".to_owned() } else { "revoke".to_owned() }
    }

    fn named_object(&mut self, what: ObjectType, object: Option<&Node>) {
        let Some(NodeEnum::List(name)) = object.and_then(|object| object.node.as_ref()) else { return };
        self.dropped(what, &name.items, what == ObjectType::ObjectIndex);
    }

    fn new_relation(&mut self, range: Option<&RangeVar>, kind: &str) -> String {
        self.defines_new(range);
        kind.to_owned()
    }

    fn old_relation(&mut self, range: Option<&RangeVar>, missing_ok: bool, kind: &str) -> String {
        let is_index = kind == "alter_index";
        self.defines(range, missing_ok || is_index);
        kind.to_owned()
    }

    /// Lists a relation that is about to be made, whether or not there is one already.
    fn defines_new(&mut self, range: Option<&RangeVar>) {
        if let Some(range) = range {
            self.touch_new(range);
        }
    }

    /// Lists a relation whose definition changes; `missing_ok` is IF EXISTS.
    pub(super) fn defines(&mut self, range: Option<&RangeVar>, missing_ok: bool) {
        let Some(range) = range else { return };
        match self.lookup(range) {
            Some(relation) => self.touch(relation, Access::Define, range.inh),
            None if missing_ok => self.touch_new(range),
            None => {
                self.relation(range);
            }
        }
    }
}

pub(super) fn range_var(node: &Node) -> Option<&RangeVar> {
    let Some(NodeEnum::RangeVar(range)) = node.node.as_ref() else { return None };
    Some(range)
}

/// The relation that a column, constraint, trigger, rule or policy belongs to: all but the last name.
fn owner_of(what: ObjectType, name: &[Node]) -> Option<RangeVar> {
    let belongs = matches!(
        what,
        ObjectType::ObjectColumn
            | ObjectType::ObjectTabconstraint
            | ObjectType::ObjectTrigger
            | ObjectType::ObjectRule
            | ObjectType::ObjectPolicy
    );
    let (_, owner) = name.split_last()?;
    (belongs && !strings(owner).is_empty()).then(|| range_of_name(owner)).flatten()
}

fn is_relation(what: ObjectType) -> bool {
    matches!(
        what,
        ObjectType::ObjectTable
            | ObjectType::ObjectView
            | ObjectType::ObjectMatview
            | ObjectType::ObjectSequence
            | ObjectType::ObjectForeignTable
            | ObjectType::ObjectIndex
    )
}

/// An object's kind in snake case, as kinds of statements use it.
#[expect(clippy::wildcard_enum_match_arm, reason = "PostgreSQL's own word does for every other kind")]
fn object_name(what: ObjectType) -> String {
    let name = match what {
        ObjectType::ObjectMatview => "materialized_view",
        ObjectType::ObjectFdw => "foreign_data_wrapper",
        ObjectType::ObjectForeignServer => "server",
        ObjectType::ObjectTabconstraint => "table",
        ObjectType::ObjectDomconstraint => "domain",
        ObjectType::ObjectAttribute => "type",
        ObjectType::ObjectOpclass => "operator_class",
        ObjectType::ObjectOpfamily => "operator_family",
        ObjectType::ObjectStatisticExt => "statistics",
        ObjectType::ObjectTsconfiguration => "text_search_configuration",
        ObjectType::ObjectTsdictionary => "text_search_dictionary",
        ObjectType::ObjectTsparser => "text_search_parser",
        ObjectType::ObjectTstemplate => "text_search_template",
        other => return other.as_str_name().trim_start_matches("OBJECT_").to_ascii_lowercase(),
    };
    name.to_owned()
}
