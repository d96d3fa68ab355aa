//! What a rulebook must not hold, looked for before it is used: the engine would take it and then crash, hang,
//! or quietly leave a rule undefined, and an undefined deny is an open door.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use regorus::Engine;
use serde_json::{Map, Value};

use super::grants;
use super::load::{AGENTS, error_at};
use super::places::Places;
use super::projection::Reads;
use super::snapshot::{RulebookError, Source};
use super::syntax::{Module, Reference, Rule, Site};
use super::vocabulary::{self, BIND, BUILTINS, CALL_ONLY, LOG, POINTS, Point, ROOT, STATEMENT};
use super::zones;

/// What is known about a rulebook that holds.
pub(super) struct Vetted {
    /// The paths of all rules.
    pub(super) rules: BTreeSet<String>,
    /// The packages of decision points, add-ons among them.
    pub(super) packages: BTreeSet<String>,
    /// What decisions on statements can read of their input.
    pub(super) statement: Reads,
    /// The same where bind values are known.
    pub(super) bound: Reads,
    /// The time zones that any rule reads.
    pub(super) zones: Vec<TimeZone>,
    /// Where rules give their reasons.
    pub(super) places: Places,
}

/// Checks every module of `engine` against itself, `data` and the sources it is from, and says the first thing that is
/// wrong.
pub(super) fn vet(
    engine: &Engine,
    sources: &[&Source],
    data: &Map<String, Value>,
) -> Result<Vetted, RulebookError> {
    let tree = tree(engine)?;
    let modules = Module::read_all(&tree)?;
    let Seen { book, calls, zones, problems } = look(&modules, sources, data);
    if let Some(problem) = problems.into_iter().next() {
        return Err(problem);
    }
    let packages = book.packages.into_iter().filter(|package| vocabulary::point_of(package).is_some());
    Ok(Vetted {
        packages: packages.collect(),
        statement: reads(&modules, &calls, &[STATEMENT]),
        bound: reads(&modules, &calls, &[STATEMENT, BIND]),
        zones,
        places: Places::read(&tree),
        rules: book.rules,
    })
}

/// All that [`vet`] could say, in the order in which it would.
pub(super) fn problems(
    engine: &Engine,
    sources: &[&Source],
    data: &Map<String, Value>,
) -> Vec<RulebookError> {
    match tree(engine).and_then(|tree| Module::read_all(&tree)) {
        Ok(modules) => look(&modules, sources, data).problems,
        Err(problem) => vec![problem],
    }
}

/// What vetting has seen of a rulebook.
pub(super) struct Survey<'a> {
    pub(super) modules: &'a [Module],
    /// Which rules each rule refers to.
    pub(super) calls: &'a Calls<'a>,
    book: &'a Book<'a>,
}

impl Survey<'_> {
    /// The document that a reference reads, as far as it is literal: `data.labels`.
    pub(super) fn document(&self, module: &Module, reference: &Reference) -> Option<String> {
        let path = module.absolute(reference, &self.book.rules)?;
        path.first().filter(|root| *root != ROOT)?;
        Some(format!("data.{}", path.join(".")))
    }
}

/// What `take` makes of what vetting sees, of a rulebook that holds.
pub(super) fn survey<T>(
    engine: &Engine,
    sources: &[&Source],
    data: &Map<String, Value>,
    take: impl FnOnce(&Survey<'_>) -> T,
) -> Result<T, RulebookError> {
    let modules = Module::read_all(&tree(engine)?)?;
    let Seen { book, calls, problems, .. } = look(&modules, sources, data);
    match problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(take(&Survey { modules: &modules, calls: &calls, book: &book })),
    }
}

fn tree(engine: &Engine) -> Result<String, RulebookError> {
    engine.get_ast_as_json().map_err(|problem| error_at(&problem, String::new()))
}

/// What one look at all modules has shown.
struct Seen<'a> {
    book: Book<'a>,
    calls: Calls<'a>,
    zones: Vec<TimeZone>,
    problems: Vec<RulebookError>,
}

fn look<'a>(modules: &'a [Module], sources: &[&Source], data: &'a Map<String, Value>) -> Seen<'a> {
    let rules = modules.iter().flat_map(|module| module.rules.iter().map(|rule| rule.path.clone())).collect();
    let book = Book { rules, packages: modules.iter().map(|module| module.package.clone()).collect(), data };
    let mut problems = Vec::new();
    for module in modules {
        problems.extend(book.check_package(module).err());
        problems.extend(book.check_imports(module, modules).err());
        problems.extend(book.check_defaults(module, modules).err());
        for rule in &module.rules {
            book.check_rule(module, rule, &mut problems);
        }
    }
    let calls = book.calls(modules);
    problems.extend(no_recursion(modules, &calls).err());
    for point in POINTS {
        problems.extend(book.check_point(point, modules, &calls).err());
    }
    problems.extend(grants::check(modules, sources).err());
    let zones = match zones::read(modules) {
        Ok(zones) => zones,
        Err(problem) => {
            problems.push(problem);
            Vec::new()
        }
    };
    Seen { book, calls, zones, problems }
}

/// Every path below `input` that is named by a rule of one of `packages`, or by one that these lead to. A name of
/// a rule can't be made up while rules run, so `calls` holds every way there is. Imports count for whole packages.
fn reads(modules: &[Module], calls: &Calls<'_>, packages: &[&str]) -> Reads {
    let is_asked = |path: &&str| packages.iter().any(|package| is_below(path, package));
    let mut open: Vec<&str> = calls.keys().copied().filter(is_asked).collect();
    let mut reached: BTreeSet<&str> = open.iter().copied().collect();
    while let Some(path) = open.pop() {
        let callees = calls.get(path).into_iter().flatten().map(String::as_str);
        open.extend(callees.filter(|callee| reached.insert(callee)));
    }
    let rules = modules.iter().flat_map(|module| &module.rules);
    let reached = rules.filter(|rule| reached.contains(rule.path.as_str()));
    let named = reached.flat_map(|rule| {
        let functions = rule.calls.iter().map(|call| &call.function);
        rule.references.iter().chain(functions).map(|reference| &reference.path)
    });
    let imported = modules.iter().flat_map(|module| module.imports.values());
    let mut reads = Reads::default();
    for path in named.chain(imported) {
        if let Some((_, below)) = path.split_first().filter(|(root, _)| *root == "input") {
            reads.add(below);
        }
    }
    reads
}

/// All that references are held against.
struct Book<'a> {
    rules: BTreeSet<String>,
    packages: BTreeSet<String>,
    data: &'a Map<String, Value>,
}

/// What a reference turned out to be.
enum Target {
    Rule(String),
    Builtin,
    /// A local variable, a function's argument, a document.
    Other,
}

pub(super) type Calls<'a> = BTreeMap<&'a str, BTreeSet<String>>;

impl Book<'_> {
    fn check_package(&self, module: &Module) -> Result<(), RulebookError> {
        let inside =
            module.package == ROOT || module.package.starts_with("portcullis.") || module.package == LOG;
        let stray = module.rules.iter().find(|rule| {
            let name = rule.path.rsplit('.').next().unwrap_or_default();
            rule.is_set && matches!(name, "deny" | "escalate" | "mask" | "limit")
        });
        let is_read =
            module.is_test || module.package == LOG || vocabulary::point_of(&module.package).is_some();
        if let Some(rule) = stray.filter(|_| inside && !is_read) {
            return Err(rule.site.error(format!(
                "nobody asks the package `{}`, so this would never hold: decision points are {}, and what is one name below",
                module.package,
                POINTS.iter().map(|point| point.package).collect::<Vec<_>>().join(", ")
            )));
        }
        if inside {
            return Ok(());
        }
        Err(module.site.error(format!(
            "the package `{}` is not the rulebook's: packages are `portcullis` and what is below it, and `system.log` for what is kept out of decision logs",
            module.package
        )))
    }

    /// The engine keeps imports by package, not by file, and lets a rule of that name win.
    fn check_imports(&self, module: &Module, modules: &[Module]) -> Result<(), RulebookError> {
        for (name, target) in &module.imports {
            if self.rules.contains(&format!("{}.{name}", module.package)) {
                let what =
                    format!("the import `{name}` has the name of a rule of `{}`: use `as`", module.package);
                return Err(module.site.error(what));
            }
            let mut same_package = modules.iter().filter(|other| other.package == module.package);
            if let Some(other) =
                same_package.find(|other| other.imports.get(name).is_some_and(|also| also != target))
            {
                return Err(module.site.error(format!(
                    "the import `{name}` is another one in {}, and one package has one meaning for a name",
                    other.site.file
                )));
            }
        }
        Ok(())
    }

    /// By way of an imported package the engine can miss rules that it has not looked at yet; it never does for
    /// functions, nor by way of an imported rule.
    fn check_way(&self, module: &Module, reference: &Reference) -> Result<(), RulebookError> {
        let Some((name, _)) = reference.path.split_first() else { return Ok(()) };
        let Some(target) = module.imports.get(name) else { return Ok(()) };
        let package = target.get(1..).unwrap_or_default().join(".");
        if !self.packages.iter().any(|known| is_below(known, &package)) {
            return Ok(());
        }
        Err(reference.site.error(format!(
            "`{}` reads a rule of an imported package, which the engine may not find: import the rule itself",
            reference.text()
        )))
    }

    /// The engine takes two defaults of one rule, in one file or in two, and a last one wins.
    fn check_defaults(&self, module: &Module, modules: &[Module]) -> Result<(), RulebookError> {
        let before = modules.iter().take_while(|other| other.site.file != module.site.file);
        let mut seen: BTreeSet<&String> = before
            .flat_map(|other| &other.rules)
            .filter(|rule| rule.default)
            .map(|rule| &rule.path)
            .collect();
        let mut defaults = module.rules.iter().filter(|rule| rule.default);
        match defaults.find(|rule| !seen.insert(&rule.path)) {
            None => Ok(()),
            Some(twice) => Err(twice.site.error(format!("`{}` has two defaults: keep one", twice.path))),
        }
    }

    fn check_rule(&self, module: &Module, rule: &Rule, problems: &mut Vec<RulebookError>) {
        // A rule whose path is a package's would be mixed with what the package declares.
        if self.packages.iter().any(|package| is_below(package, &rule.path)) {
            problems.push(rule.site.error(format!("`{}` is a package too: rename the rule", rule.path)));
        }
        problems.extend(check_name(rule).err());
        if let Some(site) = rule.replacements.first()
            && !module.is_test
        {
            let what = "`with` replaces what a decision is made on: it belongs into tests";
            problems.push(site.error(what.to_owned()));
        }
        for reference in &rule.references {
            problems.extend(self.check_way(module, reference).err());
            problems.extend(self.resolve(module, reference).err());
            problems.extend(check_value(reference).err());
            // What rules of decision logs read is an event, which holds an input among others.
            if !module.is_test && module.package != LOG {
                problems.extend(check_input(module, reference).err());
            }
        }
        for call in &rule.calls {
            problems.extend(self.check_call(module, call).err());
        }
    }

    fn check_call(&self, module: &Module, call: &super::syntax::Call) -> Result<(), RulebookError> {
        let name = call.function.text();
        match self.resolve(module, &call.function)? {
            Target::Rule(_) => Ok(()),
            Target::Builtin if name == "sprintf" => check_format(call),
            Target::Builtin if name == "walk" && call.arguments != 2 => Err(call
                .function
                .site
                .error("`walk` finds nothing in this form: write `walk(x, [path, value])`".to_owned())),
            Target::Builtin => Ok(()),
            Target::Other => Err(call.function.site.error(format!(
                "`{name}` is neither a function of this rulebook nor a builtin that it may use{}",
                vocabulary::why_not(&name)
            ))),
        }
    }

    /// Finds what a reference names. A name that leads nowhere would be undefined for ever, without a word.
    fn resolve(&self, module: &Module, reference: &Reference) -> Result<Target, RulebookError> {
        let Some(path) = module.absolute(reference, &self.rules) else {
            let name = reference.text();
            let builtin = BUILTINS.contains(&name.as_str()) || CALL_ONLY.contains(&name.as_str());
            return Ok(if builtin { Target::Builtin } else { Target::Other });
        };
        let Some(root) = path.first() else {
            return Err(reference
                .site
                .error("`data` as a whole can't be read: name the document".to_owned()));
        };
        if root != ROOT && !is_below(&path.join("."), LOG) {
            return self.check_document(reference, root, &path).map(|()| Target::Other);
        }
        let whole = path.join(".");
        let found = (1..=path.len()).rev().find_map(|length| {
            let prefix = path.get(..length).unwrap_or_default().join(".");
            self.rules.contains(&prefix).then_some(prefix)
        });
        found.map(Target::Rule).ok_or_else(|| {
            let meant = closest(&whole, self.rules.iter().map(String::as_str));
            let meant = meant.map_or_else(
                || "write the path of one rule in full".to_owned(),
                |meant| format!("did you mean `{meant}`?"),
            );
            reference.site.error(format!("there is no rule `{whole}`: {meant}"))
        })
    }

    /// The literal part of a document's path must lead somewhere. Identities come and go, so below
    /// `data.agents` nothing is known.
    fn check_document(
        &self,
        reference: &Reference,
        root: &str,
        path: &[String],
    ) -> Result<(), RulebookError> {
        let Some(document) = self.data.get(root) else {
            let known: Vec<&str> = self.data.keys().map(String::as_str).collect();
            let what = format!("there is no document `data.{root}`; there are: {}", known.join(", "));
            return Err(reference.site.error(what));
        };
        let mut folder = document.as_object().filter(|_| root != AGENTS);
        for (at, name) in path.iter().enumerate().skip(1) {
            let Some(fields) = folder else { return Ok(()) };
            let Some(value) = fields.get(name) else {
                let missing = path.get(..=at).unwrap_or_default().join(".");
                return Err(reference
                    .site
                    .error(format!("there is no `data.{missing}` in the rulebook's data")));
            };
            folder = value.as_object();
        }
        Ok(())
    }

    /// Which rules each rule refers to.
    fn calls<'m>(&self, modules: &'m [Module]) -> Calls<'m> {
        let mut calls = Calls::new();
        for module in modules {
            for rule in &module.rules {
                let callees = calls.entry(rule.path.as_str()).or_default();
                let functions = rule.calls.iter().map(|call| &call.function);
                for reference in rule.references.iter().chain(functions) {
                    if let Ok(Target::Rule(path)) = self.resolve(module, reference) {
                        callees.insert(path);
                    }
                }
            }
        }
        calls
    }

    /// What a decision point must declare, and that it declares nothing that nobody would read: a misspelt
    /// `masks` would mask nothing.
    fn check_point(&self, point: &Point, modules: &[Module], calls: &Calls<'_>) -> Result<(), RulebookError> {
        let required = point.required.map(|name| format!("{}.{name}", point.package));
        if let Some(required) = required.filter(|required| !self.rules.contains(required)) {
            return Err(RulebookError {
                file: "(rulebook)".to_owned(),
                line: 0,
                what: format!("nothing declares `{required}`, so nothing would ever be allowed"),
            });
        }
        // Tests of an add-on stand in a package beside it, and declare `test_...`.
        let judged = |module: &&Module| !module.is_test && point.owns(&module.package).is_some();
        for module in modules.iter().filter(judged) {
            for rule in &module.rules {
                let path = rule.path.strip_prefix(module.package.as_str());
                if let Some(name) = path.and_then(|path| path.strip_prefix('.')) {
                    check_declaration(point, name, rule, calls)?;
                }
            }
        }
        Ok(())
    }
}

/// That the rule called `name` is read by somebody, and is a set where the gateway reads one.
fn check_declaration(point: &Point, name: &str, rule: &Rule, calls: &Calls<'_>) -> Result<(), RulebookError> {
    if point.sets.contains(&name) && !rule.is_set {
        return Err(rule
            .site
            .error(format!("`{name}` is a set: write `{name} contains entry if {{ ... }}`")));
    }
    let read = calls.iter().any(|(caller, callees)| *caller != rule.path && callees.contains(&rule.path));
    if !read && !point.outputs().any(|output| output == name) {
        let outputs: Vec<&str> = point.outputs().collect();
        return Err(rule.site.error(format!(
            "nothing reads `{name}`: `{}` may declare {}, and rules that these refer to",
            point.package,
            outputs.join(", ")
        )));
    }
    Ok(())
}

/// The engine crashes on a function that calls itself. What is left after taking away every rule that leads
/// nowhere, and every rule that nothing leads to, goes round in circles.
fn no_recursion(modules: &[Module], calls: &Calls<'_>) -> Result<(), RulebookError> {
    let mut left: BTreeMap<&str, BTreeSet<&str>> = calls
        .iter()
        .map(|(caller, callees)| (*caller, callees.iter().map(String::as_str).collect()))
        .collect();
    loop {
        let callers: BTreeSet<&str> = left.keys().copied().collect();
        let called: BTreeSet<&str> = left.values().flatten().copied().collect();
        let before = left.len();
        left.retain(|caller, callees| {
            called.contains(caller) && callees.iter().any(|callee| callers.contains(callee))
        });
        if left.len() == before {
            break;
        }
    }
    let circular =
        modules.iter().flat_map(|module| &module.rules).find(|rule| left.contains_key(rule.path.as_str()));
    match circular {
        None => not_too_deep(modules, calls),
        Some(rule) => {
            let circle: Vec<&str> = left.keys().copied().collect();
            Err(rule.site.error(format!(
                "`{}` refers to itself, by way of {}: rules and functions can't be recursive",
                rule.path,
                circle.join(", ")
            )))
        }
    }
}

/// The engine evaluates a rule inside of the one that refers to it, and so does its stack grow. `calls` has no circles.
fn not_too_deep(modules: &[Module], calls: &Calls<'_>) -> Result<(), RulebookError> {
    let mut depths: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..=MOST_DEPTH {
        let deeper: Vec<(&str, usize)> = calls
            .iter()
            .map(|(caller, callees)| {
                let below = callees.iter().filter_map(|callee| depths.get(callee.as_str())).max();
                (*caller, below.map_or(0, |depth| depth + 1))
            })
            .filter(|(caller, depth)| depths.get(caller) != Some(depth))
            .collect();
        if deeper.is_empty() {
            return Ok(());
        }
        depths.extend(deeper);
    }
    let deepest = depths.iter().max_by_key(|(_, depth)| **depth).map(|(path, _)| *path).unwrap_or_default();
    let rule = modules.iter().flat_map(|module| &module.rules).find(|rule| rule.path == deepest);
    match rule {
        None => Ok(()),
        Some(rule) => Err(rule.site.error(format!(
            "`{deepest}` leads through more than {MOST_DEPTH} rules, one behind the other: the engine can't follow so far"
        ))),
    }
}

/// A path below `input` that no input has would be undefined for ever.
fn check_input(module: &Module, reference: &Reference) -> Result<(), RulebookError> {
    let package = module.package.as_str();
    let Some((root, rest)) = reference.path.split_first() else { return Ok(()) };
    let imported =
        module.imports.get(root).filter(|target| target.first().is_some_and(|root| root == "input"));
    let below: Vec<String> = match imported {
        Some(target) => target.iter().skip(1).chain(rest).cloned().collect(),
        None if root == "input" => rest.to_vec(),
        None => return Ok(()),
    };
    let path = below.as_slice();
    if vocabulary::has_input(package, path) {
        return Ok(());
    }
    let written = reference.text();
    let known = vocabulary::input_paths(package);
    let meant = closest(&written, known.iter().map(String::as_str));
    let meant = meant.map_or_else(String::new, |meant| format!(": did you mean `{meant}`?"));
    Err(reference.site.error(format!("no input of `{package}` has `{written}`{meant}")))
}

/// The engine finds a function before a builtin, and a builtin before a field: `time := {}` would make
/// `time.now_ns()` look like a rule to whoever reads, and still call the builtin.
fn check_name(rule: &Rule) -> Result<(), RulebookError> {
    let name = rule.path.rsplit('.').next().unwrap_or_default();
    match vocabulary::builtin_names().find(|builtin| builtin.split('.').next() == Some(name)) {
        Some(builtin) if builtin == name => {
            Err(rule.site.error(format!("`{name}` is the name of a builtin: rename the rule")))
        }
        Some(builtin) => Err(rule
            .site
            .error(format!("`{name}` is how the names of builtins like `{builtin}` begin: rename the rule"))),
        None => Ok(()),
    }
}

/// A builtin as a value, as in `with count as bits.lsh`, is called without being named in a call.
fn check_value(reference: &Reference) -> Result<(), RulebookError> {
    let name = reference.text();
    let refused = vocabulary::builtin_names().any(|builtin| builtin == name)
        && !BUILTINS.contains(&name.as_str())
        && reference.path.len() > 1;
    if !refused {
        return Ok(());
    }
    let why = vocabulary::why_not(&name);
    Err(reference.site.error(format!("`{name}` is not a builtin that a rulebook may use{why}")))
}

/// Of `known`, the one that `written` was probably meant to be.
fn closest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let likeness = |name: &str| strsim::jaro_winkler(written, name);
    let best = known.max_by(|one, two| likeness(one).total_cmp(&likeness(two)))?;
    (likeness(best) > LIKE_ENOUGH).then_some(best)
}

/// A width in a format makes the engine fill memory, and no time limit stops it.
fn check_format(call: &super::syntax::Call) -> Result<(), RulebookError> {
    let plain = call.first_text.as_ref().is_some_and(|format| {
        format.split('%').skip(1).all(|rest| rest.starts_with(['s', 'd', 'v']) || rest.is_empty())
    });
    if plain {
        return Ok(());
    }
    Err(call.function.site.error("`sprintf` needs a literal format with `%s`, `%d` and `%v` only".to_owned()))
}

/// Whether the package or rule `path` is `base` or lies below it.
fn is_below(path: &str, base: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Site {
    pub(super) fn error(&self, what: String) -> RulebookError {
        RulebookError { file: self.file.clone(), line: self.line, what }
    }
}

/// How like a name must be to be suggested, from 0 to 1: one letter too many or two that changed places are.
const LIKE_ENOUGH: f64 = 0.9;

/// Rules that lead to one another, one behind the other.
const MOST_DEPTH: usize = 100;
