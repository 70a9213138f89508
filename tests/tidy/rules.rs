//! The rules, each a function of one file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::source::{Source, Tree, is_for_tests};
use crate::tables::{
    BANS, COLUMNS_MAX, CORE_RANK_MAX, FILE_MAX, FUNCTION_MAX, RANKS, ROOT, UNSAFE_FILES,
};

/// The names of the rules.
pub(crate) const RULES: &[&str] =
    &["rank", "ban", "unsafe", "alias", "glob", "ascii", "columns", "heading", "file", "function"];

/// One place that breaks a rule.
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.what)
    }
}

/// What was read.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) files: usize,
    pub(crate) lines: usize,
    pub(crate) functions: usize,
    pub(crate) imports: usize,
    pub(crate) tokens_of_core: usize,
    pub(crate) longest_file: (usize, String),
    pub(crate) longest_function: (usize, String),
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} files, {} lines, {} functions, {} imports between rooms, {} tokens of the core \
             against {} bans",
            self.files,
            self.lines,
            self.functions,
            self.imports,
            self.tokens_of_core,
            BANS.len()
        )?;
        writeln!(f, "longest file: {} lines, {}", self.longest_file.0, self.longest_file.1)?;
        write!(
            f,
            "longest function: {} lines, {}",
            self.longest_function.0, self.longest_function.1
        )
    }
}

/// Checks every file.
pub(crate) fn check(tree: &Tree, counts: &mut Counts) -> Vec<Finding> {
    let test_modules = tree.test_modules();
    let mut findings = Vec::new();
    for source in &tree.sources {
        let mut file = File {
            source,
            for_tests: is_test_file(source, &test_modules),
            counts: &mut *counts,
            findings: &mut findings,
        };
        file.check();
    }
    findings
}

/// Whether a file is a module for tests, or lies below one.
fn is_test_file(source: &Source, test_modules: &BTreeSet<String>) -> bool {
    let module = source.module();
    let below = |parent: &String| {
        module == parent || module.strip_prefix(parent.as_str()).is_some_and(|r| r.starts_with('/'))
    };
    module.split('/').any(|part| part == "tests") || test_modules.iter().any(below)
}

fn rank(room: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
}

struct File<'a> {
    source: &'a Source,
    for_tests: bool,
    counts: &'a mut Counts,
    findings: &'a mut Vec<Finding>,
}

impl File<'_> {
    fn find(&mut self, line: usize, rule: &'static str, what: String) {
        self.findings.push(Finding { path: self.source.path.clone(), line, rule, what });
    }

    fn check(&mut self) {
        self.counts.files += 1;
        self.lines();
        self.functions();
        if self.source.path.starts_with("src/") {
            self.ranks();
            self.bans();
            self.unsafety();
            self.aliases();
            self.globs();
        }
    }

    fn lines(&mut self) {
        let source = self.source;
        let count = source.text.lines().count();
        self.counts.lines += count;
        if count > self.counts.longest_file.0 {
            self.counts.longest_file = (count, source.path.clone());
        }
        if count > FILE_MAX {
            self.find(count, "file", format!("{count} lines, the limit is {FILE_MAX}"));
        }
        if !source.text.starts_with("//! ") {
            self.find(1, "heading", "no `//!` heading".into());
        }
        if !source.path.starts_with("src/") {
            return;
        }
        for (index, line) in source.text.lines().enumerate() {
            if !line.is_ascii() {
                self.find(index + 1, "ascii", line.into());
            }
            // A row of a table in a doc comment, or a single link, cannot be broken.
            let words =
                line.trim_start().trim_start_matches("//!").trim_start_matches("///").trim();
            let is_whole =
                words.starts_with('|') || (words.starts_with('[') && !words.contains(' '));
            let columns = line.chars().count();
            if columns > COLUMNS_MAX && !is_whole {
                self.find(index + 1, "columns", format!("{columns}, the limit is {COLUMNS_MAX}"));
            }
        }
    }

    fn functions(&mut self) {
        let mut sizes = Functions { sizes: Vec::new() };
        sizes.visit_file(&self.source.syntax);
        for (name, line, size) in sizes.sizes {
            self.counts.functions += 1;
            if size > self.counts.longest_function.0 {
                self.counts.longest_function =
                    (size, format!("{}:{line} {name}", self.source.path));
            }
            if size > FUNCTION_MAX {
                let what = format!("{name} has {size} lines, the limit is {FUNCTION_MAX}");
                self.find(line, "function", what);
            }
        }
    }

    /// Rooms import from lower ranks only. Tests do too, or they would keep a room from moving.
    fn ranks(&mut self) {
        let Some(room) = self.source.room() else { return };
        let Some(own) = rank(room) else {
            self.find(1, "rank", format!("{room} has no rank in tests/tidy/tables.rs"));
            return;
        };
        for (other, line) in imports(self.source) {
            if other == room || ROOT.contains(&other.as_str()) {
                continue;
            }
            self.counts.imports += 1;
            match rank(&other) {
                None => self.find(line, "rank", format!("{other} has no rank")),
                Some(theirs) if theirs >= own => {
                    let what = format!("{room} ({own}) imports {other} ({theirs})");
                    self.find(line, "rank", what);
                }
                Some(_) => {}
            }
        }
    }

    fn bans(&mut self) {
        let in_core = self.source.room().and_then(rank).is_some_and(|rank| rank <= CORE_RANK_MAX);
        if !in_core || self.for_tests {
            return;
        }
        let tokens = &self.source.tokens;
        self.counts.tokens_of_core += tokens.len();
        for (index, token) in tokens.iter().enumerate().filter(|(_, token)| !token.in_test) {
            if token.is_float {
                self.find(token.line, "ban", format!("{} brings floating point", token.text));
            }
            for ban in BANS {
                let rest = tokens[index..].iter().map(|token| token.text.as_str());
                if rest.take(ban.tokens.len()).eq(ban.tokens.iter().copied()) {
                    let what = format!("`{}` brings {}", ban.tokens.concat(), ban.brings);
                    self.find(token.line, "ban", what);
                }
            }
        }
    }

    fn unsafety(&mut self) {
        if UNSAFE_FILES.contains(&self.source.path.as_str()) {
            return;
        }
        for token in self.source.tokens.iter().filter(|token| token.text == "unsafe") {
            self.find(token.line, "unsafe", "not a file that is named for it".into());
        }
    }

    fn aliases(&mut self) {
        for item in &self.source.syntax.items {
            if let syn::Item::Type(alias) = item {
                let what = format!("{} is a type alias; make it a newtype", alias.ident);
                self.find(alias.span().start().line, "alias", what);
            }
        }
    }

    /// `use super::*` in tests, and a prelude there, whose macros expect it.
    fn globs(&mut self) {
        for window in self.source.tokens.windows(4) {
            let [from, colons, star, end] = window else { continue };
            let is_glob = colons.text == "::"
                && star.text == "*"
                && matches!(end.text.as_str(), ";" | "," | "}");
            let excused = (self.for_tests || star.in_test)
                && matches!(from.text.as_str(), "super" | "prelude");
            if is_glob && !excused {
                self.find(star.line, "glob", format!("{}::*", from.text));
            }
        }
    }
}

/// The rooms that a file names by a path from the crate's root, with the lines. Read from tokens, so
/// that the bodies of macros count.
fn imports(source: &Source) -> Vec<(String, usize)> {
    let text = |index: usize| source.tokens.get(index).map_or("", |token| token.text.as_str());
    let mut found = Vec::new();
    for (index, token) in source.tokens.iter().enumerate() {
        let after = match token.text.as_str() {
            "crate" if text(index + 1) == "::" => index + 2,
            "super" if text(index.wrapping_sub(1)) != "::" => {
                let supers = (0..).take_while(|n| {
                    text(index + 2 * n) == "super" && text(index + 2 * n + 1) == "::"
                });
                let supers = supers.count();
                // Fewer stay below the root.
                if supers == 0 || supers < source.depth() + token.modules {
                    continue;
                }
                index + 2 * supers
            }
            _ => continue,
        };
        if text(after) != "{" {
            found.push((text(after).to_string(), source.tokens[after].line));
            continue;
        }
        let mut depth = 0;
        for (inner, token) in source.tokens.iter().enumerate().skip(after) {
            match token.text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                name if depth == 1 && matches!(text(inner - 1), "{" | ",") => {
                    found.push((name.to_string(), token.line));
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

/// Name, line and size of every function.
struct Functions {
    sizes: Vec<(String, usize, usize)>,
}

impl Functions {
    fn note(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let (first, last) = (signature.span().start().line, body.span().end().line);
        self.sizes.push((signature.ident.to_string(), first, last - first + 1));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.note(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.note(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.note(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

/// The public items of each folder of `src` that is a module: what its `mod.rs` defines or
/// re-exports.
pub(crate) fn public_items(tree: &Tree) -> BTreeMap<String, Vec<String>> {
    let modules = tree
        .sources
        .iter()
        .filter(|source| source.path.starts_with("src/") && source.path.ends_with("/mod.rs"));
    modules.map(|source| (source.module().to_string(), public_names(&source.syntax))).collect()
}

fn public_names(file: &syn::File) -> Vec<String> {
    let mut names = Vec::new();
    for item in &file.items {
        let (attributes, visibility, name) = match item {
            syn::Item::Const(i) => (&i.attrs, &i.vis, i.ident.to_string()),
            syn::Item::Enum(i) => (&i.attrs, &i.vis, i.ident.to_string()),
            syn::Item::Fn(i) => (&i.attrs, &i.vis, i.sig.ident.to_string()),
            syn::Item::Mod(i) => (&i.attrs, &i.vis, i.ident.to_string()),
            syn::Item::Static(i) => (&i.attrs, &i.vis, i.ident.to_string()),
            syn::Item::Struct(i) => (&i.attrs, &i.vis, i.ident.to_string()),
            syn::Item::Trait(i) => (&i.attrs, &i.vis, i.ident.to_string()),
            syn::Item::Type(i) => (&i.attrs, &i.vis, i.ident.to_string()),
            syn::Item::Use(i) => (&i.attrs, &i.vis, String::new()),
            _ => continue,
        };
        if !matches!(visibility, syn::Visibility::Public(_)) || is_for_tests(attributes) {
            continue;
        }
        match item {
            syn::Item::Use(item) => leaves(&item.tree, &mut names),
            _ => names.push(name),
        }
    }
    names
}

/// The names that a `use` brings in.
fn leaves(tree: &syn::UseTree, names: &mut Vec<String>) {
    match tree {
        syn::UseTree::Path(path) => leaves(&path.tree, names),
        syn::UseTree::Name(name) => names.push(name.ident.to_string()),
        syn::UseTree::Rename(rename) => names.push(rename.rename.to_string()),
        syn::UseTree::Glob(_) => names.push("*".into()),
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, names)),
    }
}
