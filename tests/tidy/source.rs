//! Source files as the rules see them: lines, syntax, and one flat row of tokens.

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// All files, in order of path.
pub(crate) struct Tree {
    pub(crate) sources: Vec<Source>,
}

impl Tree {
    /// Reads every `.rs` file below `folders` of `root`, except in packages of their own.
    pub(crate) fn load(root: &Path, folders: &[&str]) -> Self {
        let mut sources = Vec::new();
        for folder in folders {
            load_folder(root, folder, &mut sources);
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        Self { sources }
    }

    /// The modules that are declared for tests alone, as paths without `.rs`.
    pub(crate) fn test_modules(&self) -> BTreeSet<String> {
        self.sources.iter().flat_map(Source::test_modules).collect()
    }
}

fn load_folder(root: &Path, folder: &str, sources: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(root.join(folder)) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            if !entry.path().join("Cargo.toml").exists() {
                load_folder(root, &path, sources);
            }
        } else if std::path::Path::new(&path).extension().is_some_and(|kind| kind == "rs") {
            sources.push(Source::new(&path, &std::fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

/// One file.
pub(crate) struct Source {
    /// From the root of the package, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
    pub(crate) tokens: Vec<Token>,
}

/// One token. Brackets are tokens, `::` is one, and doc comments are literals.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    /// Modules of this file that enclose it.
    pub(crate) modules: usize,
    /// Inside an item for tests.
    pub(crate) in_test: bool,
    /// A literal with a fraction or a float suffix.
    pub(crate) is_float: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let syntax = syn::parse_file(text).unwrap_or_else(|e| panic!("{path}: {e}"));
        let stream = TokenStream::from_str(text).unwrap_or_else(|e| panic!("{path}: {e}"));
        let mut finder = TestItems { lines: Vec::new() };
        finder.visit_file(&syntax);
        let mut flat = Flat { tokens: Vec::new(), test_lines: finder.lines, modules: 0 };
        flat.walk(stream);
        Self { path: path.into(), text: text.into(), syntax, tokens: flat.tokens }
    }

    /// The room that it belongs to: the folder or file right below `src`.
    pub(crate) fn room(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        match below.split_once('/') {
            Some(("bin", _)) => None,
            Some((room, _)) => Some(room),
            None => below.strip_suffix(".rs").filter(|name| !matches!(*name, "lib" | "main")),
        }
    }

    /// How many modules deep the file's own module is below the crate.
    pub(crate) fn depth(&self) -> usize {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let folders = below.matches('/').count();
        let file = below.rsplit('/').next().unwrap_or_default();
        folders + usize::from(!matches!(file, "mod.rs" | "lib.rs" | "main.rs"))
    }

    /// The path of its module: without `.rs`, `/mod.rs`.
    pub(crate) fn module(&self) -> &str {
        let path = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        path.strip_suffix("/mod").unwrap_or(path)
    }

    /// Its modules `#[cfg(test)] mod name;`, as paths.
    fn test_modules(&self) -> Vec<String> {
        let modules = self.syntax.items.iter().filter_map(|item| match item {
            syn::Item::Mod(module) if is_for_tests(&module.attrs) => Some(module.ident.to_string()),
            _ => None,
        });
        modules.map(|name| format!("{}/{name}", self.module())).collect()
    }
}

/// Whether an item has `#[cfg(test)]` or `#[test]`.
pub(crate) fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        path.is_ident("test")
            || (path.is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test")))
    })
}

/// Finds the lines of items for tests.
struct TestItems {
    lines: Vec<(usize, usize)>,
}

impl TestItems {
    fn note(&mut self, attributes: &[syn::Attribute], item: &impl Spanned) {
        if is_for_tests(attributes) {
            let span = item.span();
            self.lines.push((span.start().line, span.end().line));
        }
    }
}

impl<'ast> Visit<'ast> for TestItems {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.note(&item.attrs, item);
        visit::visit_item_mod(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.note(&item.attrs, item);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.note(&item.attrs, item);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.note(&item.attrs, item);
        visit::visit_item_impl(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note(&item.attrs, item);
    }
}

struct Flat {
    tokens: Vec<Token>,
    test_lines: Vec<(usize, usize)>,
    modules: usize,
}

impl Flat {
    fn push(&mut self, text: String, line: usize, is_float: bool) {
        let in_test = self.test_lines.iter().any(|(first, last)| (*first..=*last).contains(&line));
        self.tokens.push(Token { text, line, modules: self.modules, in_test, is_float });
    }

    fn walk(&mut self, stream: TokenStream) {
        let mut trees = stream.into_iter().peekable();
        while let Some(tree) = trees.next() {
            let line = tree.span().start().line;
            match tree {
                TokenTree::Ident(ident) => self.push(ident.to_string(), line, false),
                TokenTree::Punct(punct) => {
                    let joined = punct.as_char() == ':' && punct.spacing() == Spacing::Joint;
                    if joined
                        && matches!(trees.peek(), Some(TokenTree::Punct(p)) if p.as_char() == ':')
                    {
                        trees.next();
                        self.push("::".into(), line, false);
                    } else {
                        self.push(punct.as_char().to_string(), line, false);
                    }
                }
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    let is_float = syn::parse_str::<syn::LitFloat>(&text).is_ok();
                    self.push(text, line, is_float);
                }
                TokenTree::Group(group) => {
                    let (open, close) = brackets(group.delimiter());
                    let opens_module = open == "{" && self.is_module_body();
                    self.push(open.into(), line, false);
                    self.modules += usize::from(opens_module);
                    self.walk(group.stream());
                    self.modules -= usize::from(opens_module);
                    self.push(close.into(), group.span_close().start().line, false);
                }
            }
        }
    }

    /// Whether the last two tokens are `mod name`.
    fn is_module_body(&self) -> bool {
        matches!(self.tokens.as_slice(), [.., keyword, _] if keyword.text == "mod")
    }
}

const fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}
