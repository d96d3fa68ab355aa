//! The parts of a policy's syntax tree that vetting looks at, read from the engine's JSON form of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::snapshot::RulebookError;

/// One file.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) site: Site,
    /// Without `data.`, for example `portcullis.statement`.
    pub(super) package: String,
    pub(super) rules: Vec<Rule>,
    pub(super) is_test: bool,
    /// What a name at the beginning of a reference stands for.
    pub(super) imports: BTreeMap<String, Vec<String>>,
}

/// One rule's one definition.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) site: Site,
    /// Without `data.`, for example `portcullis.statement.deny`.
    pub(super) path: String,
    pub(super) default: bool,
    /// Whether it is a partial set.
    pub(super) is_set: bool,
    pub(super) references: Vec<Reference>,
    pub(super) calls: Vec<Call>,
    /// Where `with` is used.
    pub(super) replacements: Vec<Site>,
}

/// A name with what follows it, up to the first part that is not literal.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) site: Site,
    pub(super) path: Vec<String>,
}

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) function: Reference,
    pub(super) arguments: usize,
    /// The first argument, where it is a literal text.
    pub(super) first_text: Option<String>,
}

/// A place in a file.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) file: String,
    pub(super) line: usize,
}

impl Module {
    /// Reads the engine's JSON: an array of `{source: {file}, ast: {package, imports, rules}}`.
    pub(super) fn read_all(tree: &str) -> Result<Vec<Self>, RulebookError> {
        let unread = |what: String| RulebookError { file: "(rulebook)".to_owned(), line: 0, what };
        let modules: Vec<Value> = serde_json::from_str(tree).map_err(|problem| {
            unread(format!("an expression is nested too deeply to be vetted: {problem}"))
        })?;
        let read = modules.iter().map(Self::read).collect::<Option<Vec<_>>>();
        let mut read = read.ok_or_else(|| {
            unread("the policy engine's syntax tree has changed: this gateway can't vet it".to_owned())
        })?;
        Self::share_imports(&mut read);
        Ok(read)
    }

    /// The engine keeps imports by package: a name means in every file of one what any of them imports.
    fn share_imports(modules: &mut [Self]) {
        let mut known: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
        for module in modules.iter() {
            let names = known.entry(module.package.clone()).or_default();
            for (name, target) in &module.imports {
                names.entry(name.clone()).or_insert_with(|| target.clone());
            }
        }
        for module in modules {
            for (name, target) in known.get(&module.package).into_iter().flatten() {
                module.imports.entry(name.clone()).or_insert_with(|| target.clone());
            }
        }
    }

    fn read(module: &Value) -> Option<Self> {
        let file = module.pointer("/source/file")?.as_str()?.to_owned();
        let ast = module.get("ast")?;
        let reader = Reader { file: &file };
        let package = reader.reference(ast.pointer("/package/refr")?)?;
        let package_path = package.path.join(".");
        let mut imports = BTreeMap::new();
        for import in ast.get("imports")?.as_array()? {
            let target = reader.reference(import.get("refr")?)?;
            let alias = import.get("as").and_then(|span| reader.span_text(span, module));
            let name = alias.or_else(|| target.path.last().cloned())?;
            imports.insert(name, target.path);
        }
        let rules = ast.get("rules")?.as_array()?;
        let rules = rules.iter().map(|rule| reader.rule(rule, &package_path)).collect::<Option<Vec<_>>>()?;
        let is_test = file.ends_with("_test.rego");
        Some(Self { site: package.site, package: package_path, rules, is_test, imports })
    }

    /// The path below `data` that `reference` names: `None` for what lies elsewhere (input, locals, builtins).
    pub(super) fn absolute(&self, reference: &Reference, rules: &BTreeSet<String>) -> Option<Vec<String>> {
        let (root, rest) = reference.path.split_first()?;
        if root == "data" {
            return Some(rest.to_vec());
        }
        if let Some(target) = self.imports.get(root) {
            let (target_root, below) = target.split_first()?;
            return (target_root == "data").then(|| below.iter().chain(rest).cloned().collect());
        }
        let own: Vec<String> =
            self.package.split('.').map(str::to_owned).chain(reference.path.iter().cloned()).collect();
        rules.contains(&format!("{}.{root}", self.package)).then_some(own)
    }
}

impl Reference {
    /// As it is written.
    pub(super) fn text(&self) -> String {
        self.path.join(".")
    }
}

struct Reader<'a> {
    file: &'a str,
}

impl Reader<'_> {
    fn rule(&self, rule: &Value, package: &str) -> Option<Rule> {
        let (kind, body) = variant(rule)?;
        let default = kind == "Default";
        let (head_kind, head) = if default { ("Default", body) } else { variant(body.get("head")?)? };
        let name = self.reference(head.get("refr")?)?;
        let mut read = Rule {
            site: self.site(body.get("span")?)?,
            path: format!("{package}.{}", name.path.first()?),
            default,
            is_set: head_kind == "Set",
            references: Vec::new(),
            calls: Vec::new(),
            replacements: Vec::new(),
        };
        // Every part but the name itself, which would count as a reference to the rule.
        self.indexes(head.get("refr")?, &mut read)?;
        for part in ["key", "args", "assign", "value"] {
            head.get(part).map_or(Some(()), |part| self.walk(part, &mut read))?;
        }
        body.get("bodies").map_or(Some(()), |bodies| self.walk(bodies, &mut read))?;
        Some(read)
    }

    /// Collects every reference and call below `node`.
    fn walk(&self, node: &Value, into: &mut Rule) -> Option<()> {
        match node {
            Value::Array(items) => items.iter().try_for_each(|item| self.walk(item, into)),
            Value::Object(fields) => {
                if let Some(replacements) = fields.get("with_mods").and_then(Value::as_array) {
                    for replacement in replacements {
                        into.replacements.push(self.site(replacement.get("span")?)?);
                    }
                }
                fields.iter().try_for_each(|(name, value)| match name.as_str() {
                    "Var" | "RefDot" | "RefBrack" => {
                        into.references.extend(self.reference(node));
                        self.indexes(node, into)
                    }
                    "Call" => self.call(value, into),
                    "span" => Some(()),
                    _ => self.walk(value, into),
                })
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(()),
        }
    }

    fn call(&self, call: &Value, into: &mut Rule) -> Option<()> {
        let parameters = call.get("params")?;
        into.calls.push(Call {
            function: self.reference(call.get("fcn")?)?,
            arguments: parameters.as_array()?.len(),
            first_text: parameters.get(0).and_then(literal).map(str::to_owned),
        });
        self.walk(parameters, into)
    }

    /// Walks what stands in brackets along a reference, and a base that is not a name.
    fn indexes(&self, node: &Value, into: &mut Rule) -> Option<()> {
        let (kind, fields) = variant(node)?;
        match kind {
            "Var" => Some(()),
            "RefDot" => self.indexes(fields.get("refr")?, into),
            "RefBrack" => {
                self.walk(fields.get("index")?, into)?;
                self.indexes(fields.get("refr")?, into)
            }
            _ => self.walk(node, into),
        }
    }

    /// The literal part of a reference; `None` if it does not begin with a name.
    fn reference(&self, node: &Value) -> Option<Reference> {
        let (kind, fields) = variant(node)?;
        let site = self.site(fields.get("span")?)?;
        match kind {
            "Var" => Some(Reference { site, path: vec![fields.get("value")?.as_str()?.to_owned()] }),
            "RefDot" | "RefBrack" => {
                let base_node = fields.get("refr")?;
                let base = self.reference(base_node)?;
                let part = match kind {
                    "RefDot" => fields.get("field")?.get(1)?.as_str(),
                    _ => literal(fields.get("index")?),
                };
                let mut path = base.path;
                if let Some(part) = part.filter(|_| is_literal_chain(base_node)) {
                    path.push(part.to_owned());
                }
                Some(Reference { site: base.site, path })
            }
            _ => None,
        }
    }

    fn site(&self, span: &Value) -> Option<Site> {
        let line = usize::try_from(span.get("line")?.as_u64()?).ok()?;
        Some(Site { file: self.file.to_owned(), line })
    }

    fn span_text(&self, span: &Value, module: &Value) -> Option<String> {
        let contents = module.pointer("/source/contents")?.as_str()?;
        let at = |name| usize::try_from(span.get(name)?.as_u64()?).ok();
        contents.get(at("start")?..at("end")?).map(str::to_owned)
    }
}

/// Whether a reference has literal parts only, so that what follows continues a known path.
fn is_literal_chain(node: &Value) -> bool {
    match variant(node) {
        Some(("Var", _)) => true,
        Some(("RefDot", fields)) => fields.get("refr").is_some_and(is_literal_chain),
        Some(("RefBrack", fields)) => {
            fields.get("index").is_some_and(|index| literal(index).is_some())
                && fields.get("refr").is_some_and(is_literal_chain)
        }
        _ => false,
    }
}

fn literal(node: &Value) -> Option<&str> {
    match variant(node)? {
        ("String" | "RawString", fields) => fields.get("value")?.as_str(),
        _ => None,
    }
}

/// The one entry of a node that stands for a variant.
fn variant(node: &Value) -> Option<(&str, &Value)> {
    let (kind, fields) = node.as_object()?.iter().next()?;
    Some((kind.as_str(), fields))
}
