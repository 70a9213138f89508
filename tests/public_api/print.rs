//! Items as lines of text, without bodies, docs and private parts.

use std::collections::BTreeSet;

use quote::{ToTokens, quote};

use crate::crate_tree::{Module, cfg_of, is_for_tests};

/// All public modules of the crate, each with its lines in order.
pub(crate) fn api(krate: &Module) -> String {
    let mut out = String::new();
    for module in krate.all() {
        if !is_reachable(krate, module) {
            continue;
        }
        let lines = module_lines(krate, module);
        if lines.is_empty() && module.items.is_empty() {
            continue;
        }
        out.extend([module.cfg.as_str(), "mod ", &module.path, "\n"]);
        for line in &lines {
            out.extend(["  ", line.as_str(), "\n"]);
        }
        out.push('\n');
    }
    out
}

/// Whether every module on the way to it is public.
fn is_reachable(krate: &Module, module: &Module) -> bool {
    let names: Vec<String> = module.path.split("::").skip(1).map(String::from).collect();
    (0..=names.len()).all(|n| krate.find(&names[..n]).is_some_and(|module| module.is_public))
}

fn module_lines(krate: &Module, module: &Module) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let mut types = BTreeSet::new();
    for item in &module.items {
        shown(krate, module, item, &mut lines, &mut types);
    }
    // Implementations stand anywhere in the room; the room's types have different names.
    let room = module.path.split("::").take(2).collect::<Vec<_>>().join("::");
    let inside: Vec<&Module> = if room == "crate" {
        vec![module]
    } else {
        let below = format!("{room}::");
        krate.all().into_iter().filter(|m| m.path == room || m.path.starts_with(&below)).collect()
    };
    for item in inside.iter().flat_map(|module| &module.items) {
        if let syn::Item::Impl(item) = item {
            implementation(item, &types, &mut lines);
        }
    }
    if module.path == room {
        lines.extend(macro_lines(&inside));
    }
    lines
}

/// Adds a public item of `module`; follows a re-export to its definition.
fn shown(
    krate: &Module,
    module: &Module,
    item: &syn::Item,
    lines: &mut BTreeSet<String>,
    types: &mut BTreeSet<String>,
) {
    if let syn::Item::Use(item) = item {
        if is_public(&item.vis) && !is_for_tests(&item.attrs) {
            let mut uses = Vec::new();
            flatten(&item.tree, &mut Vec::new(), &mut uses);
            for (path, name) in uses {
                re_export(krate, module, &path, &name, &cfg_of(&item.attrs), lines, types);
            }
        }
        return;
    }
    if let Some((name, line)) = definition(item) {
        lines.insert(line);
        types.insert(name);
    }
}

/// Adds what `pub use path as name` in `module` brings in.
fn re_export(
    krate: &Module,
    module: &Module,
    path: &[String],
    name: &str,
    cfg: &str,
    lines: &mut BTreeSet<String>,
    types: &mut BTreeSet<String>,
) {
    types.insert(name.into());
    let absolute = absolute(module, path);
    let target = absolute.split_last().and_then(|(last, folder)| Some((krate.find(folder)?, last)));
    let Some((target, last)) = target else {
        lines.insert(format!("{cfg}pub use {} as {name}", path.join("::")));
        return;
    };
    let mut found = false;
    for item in &target.items {
        match item {
            syn::Item::Use(inner) => {
                let mut uses = Vec::new();
                flatten(&inner.tree, &mut Vec::new(), &mut uses);
                for (path, _) in uses.iter().filter(|(_, name)| name == last) {
                    found = true;
                    re_export(krate, target, path, name, cfg, lines, types);
                }
            }
            _ => {
                if let Some((_, line)) = definition(item).filter(|(name, _)| name == last) {
                    found = true;
                    lines.insert(format!("{cfg}{line}"));
                }
            }
        }
    }
    if !found {
        lines.insert(format!("{cfg}pub use {} as {name}", path.join("::")));
    }
}

/// A path in `module`, from the crate's root; names of other crates find nothing there.
fn absolute(module: &Module, path: &[String]) -> Vec<String> {
    let mut base: Vec<String> = module.path.split("::").skip(1).map(String::from).collect();
    let mut rest = path;
    while let [first, after @ ..] = rest {
        match first.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                base.pop();
            }
            _ => break,
        }
        rest = after;
    }
    base.extend_from_slice(rest);
    base
}

/// The leaves of a `use`: path and name.
fn flatten(tree: &syn::UseTree, prefix: &mut Vec<String>, out: &mut Vec<(Vec<String>, String)>) {
    let mut leaf = |ident: &syn::Ident, name: String| {
        let mut path = prefix.clone();
        path.push(ident.to_string());
        out.push((path, name));
    };
    match tree {
        syn::UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, out);
            prefix.pop();
        }
        syn::UseTree::Name(name) => leaf(&name.ident, name.ident.to_string()),
        syn::UseTree::Rename(rename) => leaf(&rename.ident, rename.rename.to_string()),
        syn::UseTree::Glob(_) => out.push((prefix.clone(), "*".into())),
        syn::UseTree::Group(group) => {
            group.items.iter().for_each(|tree| flatten(tree, prefix, out));
        }
    }
}

const fn is_public(visibility: &syn::Visibility) -> bool {
    matches!(visibility, syn::Visibility::Public(_))
}

/// Name and line of a public definition.
fn definition(item: &syn::Item) -> Option<(String, String)> {
    let (attributes, visibility, name, text) = match item.clone() {
        syn::Item::Const(mut i) => {
            let attributes = std::mem::take(&mut i.attrs);
            (attributes, i.vis.clone(), i.ident.to_string(), tidy(&i).trim_end_matches(';').into())
        }
        syn::Item::Enum(mut i) => {
            let attributes = std::mem::take(&mut i.attrs);
            for variant in &mut i.variants {
                variant.attrs.retain(|a| a.path().is_ident("cfg"));
                variant.fields.iter_mut().for_each(|field| field.attrs.clear());
            }
            (attributes, i.vis.clone(), i.ident.to_string(), tidy(&i))
        }
        syn::Item::Fn(i) => {
            let (visibility, signature) = (&i.vis, &i.sig);
            let text = tidy(&quote!(#visibility #signature));
            (i.attrs.clone(), i.vis.clone(), i.sig.ident.to_string(), text)
        }
        syn::Item::Struct(i) => {
            (i.attrs.clone(), i.vis.clone(), i.ident.to_string(), structure(&i))
        }
        syn::Item::Trait(i) => (i.attrs.clone(), i.vis.clone(), i.ident.to_string(), contract(i)),
        syn::Item::Type(mut i) => {
            let attributes = std::mem::take(&mut i.attrs);
            (attributes, i.vis.clone(), i.ident.to_string(), tidy(&i))
        }
        _ => return None,
    };
    if !is_public(&visibility) || is_for_tests(&attributes) {
        return None;
    }
    Some((name, format!("{}{text}", shown_attributes(&attributes))))
}

/// The attributes that callers see.
fn shown_attributes(attributes: &[syn::Attribute]) -> String {
    let shown = ["derive", "non_exhaustive", "cfg", "cfg_attr", "must_use", "repr"];
    let kept = attributes.iter().filter(|a| shown.iter().any(|name| a.path().is_ident(name)));
    kept.flat_map(|attribute| [tidy(&quote!(#attribute)), " ".to_owned()]).collect()
}

/// A struct with its public fields; `..` stands for the others.
fn structure(item: &syn::ItemStruct) -> String {
    let (visibility, name, generics) = (&item.vis, &item.ident, &item.generics);
    let head = tidy(&quote!(#visibility struct #name #generics));
    let mut fields: Vec<String> = item
        .fields
        .iter()
        .filter(|field| is_public(&field.vis))
        .map(|field| {
            let field = syn::Field { attrs: Vec::new(), ..field.clone() };
            tidy(&field)
        })
        .collect();
    if fields.len() < item.fields.len() {
        fields.push("..".into());
    }
    match item.fields {
        syn::Fields::Named(_) => format!("{head} {{ {} }}", fields.join(", ")),
        syn::Fields::Unnamed(_) => format!("{head}({})", fields.join(", ")),
        syn::Fields::Unit => head,
    }
}

/// A trait with the signatures of its items.
fn contract(mut item: syn::ItemTrait) -> String {
    item.attrs.clear();
    for inner in &mut item.items {
        match inner {
            syn::TraitItem::Fn(function) => {
                function.attrs.clear();
                if function.default.take().is_some() {
                    function.default = Some(syn::parse_quote!({}));
                }
                function.semi_token = function.default.is_none().then(Default::default);
            }
            syn::TraitItem::Type(inner) => inner.attrs.clear(),
            syn::TraitItem::Const(inner) => inner.attrs.clear(),
            _ => {}
        }
    }
    tidy(&item)
}

/// Adds the public functions and constants of an inherent block, or the head of a trait's.
fn implementation(item: &syn::ItemImpl, types: &BTreeSet<String>, lines: &mut BTreeSet<String>) {
    let own = match item.self_ty.as_ref() {
        syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    };
    if !own.is_some_and(|name| types.contains(&name)) || is_for_tests(&item.attrs) {
        return;
    }
    let (generics, target, cfg) = (&item.generics, &item.self_ty, cfg_of(&item.attrs));
    if let Some((bang, path, _)) = &item.trait_ {
        lines.insert(format!("{cfg}{}", tidy(&quote!(impl #generics #bang #path for #target))));
        return;
    }
    let head = tidy(&quote!(impl #generics #target));
    for inner in &item.items {
        let line = match inner {
            syn::ImplItem::Fn(f) if is_public(&f.vis) && !is_for_tests(&f.attrs) => {
                let (visibility, signature) = (&f.vis, &f.sig);
                let attributes = shown_attributes(&f.attrs);
                format!("{attributes}{}", tidy(&quote!(#visibility #signature)))
            }
            syn::ImplItem::Const(c) if is_public(&c.vis) && !is_for_tests(&c.attrs) => {
                let constant = syn::ImplItemConst { attrs: Vec::new(), ..c.clone() };
                tidy(&constant).trim_end_matches(';').to_string()
            }
            _ => continue,
        };
        lines.insert(format!("{cfg}{head}: {line}"));
    }
}

/// The macros of a room that define public items, and their calls: what they make is seen in both.
fn macro_lines(modules: &[&Module]) -> Vec<String> {
    let items = modules.iter().flat_map(|module| &module.items).filter_map(|item| match item {
        syn::Item::Macro(item) if !is_for_tests(&item.attrs) => Some(item),
        _ => None,
    });
    let (definitions, calls): (Vec<_>, Vec<_>) = items.partition(|item| item.ident.is_some());
    let mut lines = Vec::new();
    for definition in definitions {
        let text = tidy(&without_bodies(without_docs(definition.mac.tokens.clone())));
        let Some(name) = definition.ident.as_ref().filter(|_| text.contains("pub ")) else {
            continue;
        };
        lines.extend(wrapped(&format!("macro {name}"), &text));
        for call in calls.iter().filter(|call| call.mac.path.is_ident(name)) {
            let text = tidy(&without_docs(call.mac.tokens.clone()));
            let first: String = text.chars().take_while(|c| c.is_alphanumeric()).collect();
            lines.extend(wrapped(&format!("{name}! {first}"), &text));
        }
    }
    lines
}

/// A long text in pieces that stay in order when the lines are sorted.
fn wrapped(name: &str, text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < 80 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!(" {word}")),
        }
    }
    let numbered = lines.iter().enumerate();
    numbered.map(|(index, line)| format!("{name} {index:02}:{line}")).collect()
}

/// Functions end in `;` instead of their bodies.
fn without_bodies(stream: proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    use proc_macro2::{Delimiter, Group, Punct, Spacing, TokenTree};
    let mut out: Vec<TokenTree> = Vec::new();
    let mut in_signature = false;
    for tree in stream {
        match tree {
            TokenTree::Group(group) if in_signature && group.delimiter() == Delimiter::Brace => {
                in_signature = false;
                out.push(Punct::new(';', Spacing::Alone).into());
            }
            TokenTree::Group(group) => {
                out.push(Group::new(group.delimiter(), without_bodies(group.stream())).into());
            }
            other => {
                match &other {
                    TokenTree::Ident(ident) if ident == "fn" => in_signature = true,
                    TokenTree::Punct(punct) if punct.as_char() == ';' => in_signature = false,
                    _ => {}
                }
                out.push(other);
            }
        }
    }
    out.into_iter().collect()
}

fn without_docs(stream: proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    use proc_macro2::{Group, TokenTree};
    let mut out: Vec<TokenTree> = Vec::new();
    for tree in stream {
        match tree {
            TokenTree::Group(group) => {
                let is_doc = group.stream().to_string().starts_with("doc =")
                    && matches!(out.last(), Some(TokenTree::Punct(p)) if p.as_char() == '#');
                if is_doc {
                    out.pop();
                    continue;
                }
                out.push(Group::new(group.delimiter(), without_docs(group.stream())).into());
            }
            other => out.push(other),
        }
    }
    out.into_iter().collect()
}

/// Tokens as one line, spaced nearly as a person would.
pub(crate) fn tidy(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string().replace('\n', " ");
    while text.contains("  ") {
        text = text.replace("  ", " ");
    }
    let rules = [
        (" :: ", "::"),
        (":: ", "::"),
        (" ::", "::"),
        (" , ", ", "),
        (" ,", ","),
        (" ;", ";"),
        (" : ", ": "),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        ("[ ", "["),
        (" ]", "]"),
        ("< ", "<"),
        (" <", "<"),
        (" >", ">"),
        ("& ", "&"),
        ("# [", "#["),
        (" ! ", "! "),
        (" . ", "."),
        ("$ ", "$"),
        (" ?", "?"),
        (",)", ")"),
        (", }", " }"),
    ];
    for (from, to) in rules {
        text = text.replace(from, to);
    }
    // `->` and `=>` lost the space before them with the one of `>`.
    text.replace("- >", " ->").replace("->", " ->").replace("  ->", " ->")
}
