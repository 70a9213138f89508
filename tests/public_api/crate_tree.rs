//! The modules of the crate, read from its files.

use std::collections::BTreeMap;
use std::path::Path;

/// A module with its items and its child modules, those for tests left out.
pub(crate) struct Module {
    pub(crate) path: String,
    pub(crate) is_public: bool,
    /// `#[cfg(..)]` of its declaration.
    pub(crate) cfg: String,
    pub(crate) items: Vec<syn::Item>,
    pub(crate) children: BTreeMap<String, Module>,
}

impl Module {
    /// Reads a crate from its root file.
    pub(crate) fn load(root: &Path) -> Self {
        let text = std::fs::read_to_string(root).unwrap();
        let items = syn::parse_file(&text).unwrap().items;
        let mut module = Self::new("crate".into(), true, String::new());
        module.fill(items, root.parent());
        module
    }

    /// Reads a crate from a text in which all modules are inline.
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let mut module = Self::new(path.into(), true, String::new());
        module.fill(syn::parse_file(text).unwrap().items, None);
        module
    }

    const fn new(path: String, is_public: bool, cfg: String) -> Self {
        Self { path, is_public, cfg, items: Vec::new(), children: BTreeMap::new() }
    }

    /// Takes `items`; modules in files are looked for in `folder`.
    fn fill(&mut self, items: Vec<syn::Item>, folder: Option<&Path>) {
        for item in items {
            let syn::Item::Mod(module) = item else {
                self.items.push(item);
                continue;
            };
            if is_for_tests(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let is_public = matches!(module.vis, syn::Visibility::Public(_));
            let path = format!("{}::{name}", self.path);
            let mut child = Self::new(path, is_public, cfg_of(&module.attrs));
            let below = folder.map(|folder| folder.join(&name));
            let items = match (module.content, folder) {
                (Some((_, items)), _) => items,
                (None, Some(folder)) => read_module(folder, &name),
                (None, None) => panic!("module {name} is not inline"),
            };
            child.fill(items, below.as_deref());
            self.children.insert(name, child);
        }
    }

    /// The module at `segments` below this one.
    pub(crate) fn find(&self, segments: &[String]) -> Option<&Self> {
        match segments {
            [] => Some(self),
            [first, rest @ ..] => self.children.get(first)?.find(rest),
        }
    }

    /// This module and all below it, in order of path.
    pub(crate) fn all(&self) -> Vec<&Self> {
        let mut all = vec![self];
        all.extend(self.children.values().flat_map(Self::all));
        all
    }
}

fn read_module(folder: &Path, name: &str) -> Vec<syn::Item> {
    let candidates = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
    let text = candidates.iter().find_map(|path| std::fs::read_to_string(path).ok());
    let text = text.unwrap_or_else(|| panic!("no file of module {name} in {}", folder.display()));
    syn::parse_file(&text).unwrap_or_else(|e| panic!("{name}: {e}")).items
}

/// Whether an item has `#[cfg(test)]`.
pub(crate) fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

/// The `#[cfg(..)]` of an item, as text.
pub(crate) fn cfg_of(attributes: &[syn::Attribute]) -> String {
    let cfgs = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    cfgs.flat_map(|cfg| [crate::print::tidy(&quote::quote!(#cfg)), " ".to_owned()]).collect()
}
