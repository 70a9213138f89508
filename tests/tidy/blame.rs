//! Every error says who is to blame, and the answer names every variant.

use std::collections::{BTreeMap, BTreeSet};

use quote::ToTokens;
use syn::visit::{self, Visit};

use crate::source::{Source, Tree, is_for_tests};
use crate::tables::BLAMELESS;

/// What was found.
pub(crate) struct Errors {
    /// The error types of the rooms.
    pub(crate) names: BTreeSet<String>,
    /// What breaks the rule.
    pub(crate) findings: Vec<String>,
}

/// Checks the rooms: each type that is an error by its name or by `derive(Error)` has a `blame`,
/// and no `blame` has an arm `_`, so that a new variant must be thought about.
pub(crate) fn check(tree: &Tree) -> Errors {
    let (mut errors, mut answers) = (BTreeMap::new(), BTreeSet::new());
    let mut findings = Vec::new();
    for source in tree.sources.iter().filter(|source| source.room().is_some()) {
        let mut reader =
            Reader { source, errors: &mut errors, answers: &mut answers, wild: &mut findings };
        reader.visit_file(&source.syntax);
    }
    for (name, path) in &errors {
        let excused = BLAMELESS.iter().any(|(excused, _)| excused == name);
        match (answers.contains(name), excused) {
            (false, false) => findings.push(format!("{path}: {name} has no blame()")),
            (true, true) => findings.push(format!("{path}: {name} no longer needs its excuse")),
            _ => {}
        }
    }
    Errors { names: errors.into_keys().collect(), findings }
}

struct Reader<'a> {
    source: &'a Source,
    errors: &'a mut BTreeMap<String, String>,
    answers: &'a mut BTreeSet<String>,
    wild: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn note(&mut self, ident: &syn::Ident, attributes: &[syn::Attribute], is_enum: bool) {
        let derived = attributes.iter().any(|attribute| {
            let words = attribute.meta.to_token_stream().to_string();
            attribute.path().is_ident("derive") && words.contains(":: Error")
        });
        let name = ident.to_string();
        if derived || (is_enum && name.ends_with("Error")) {
            self.errors.insert(name, self.source.path.clone());
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.note(&item.ident, &item.attrs, true);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.note(&item.ident, &item.attrs, false);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let syn::Type::Path(of) = &*item.self_ty else { return };
        let Some(name) = of.path.segments.last().map(|segment| segment.ident.to_string()) else {
            return;
        };
        for function in &item.items {
            let syn::ImplItem::Fn(function) = function else { continue };
            if function.sig.ident != "blame" {
                continue;
            }
            self.answers.insert(name.clone());
            let mut arms = WildArms { lines: Vec::new() };
            arms.visit_block(&function.block);
            let path = &self.source.path;
            self.wild.extend(arms.lines.iter().map(|line| {
                format!("{path}:{line}: blame() of {name} has an arm `_`; name the variants")
            }));
        }
    }
}

struct WildArms {
    lines: Vec<usize>,
}

impl<'ast> Visit<'ast> for WildArms {
    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if matches!(arm.pat, syn::Pat::Wild(_) | syn::Pat::Ident(_)) {
            let span = syn::spanned::Spanned::span(&arm.pat);
            self.lines.push(span.start().line);
        }
        visit::visit_arm(self, arm);
    }
}
