//! Every public item of a published library has an example or leads to one.
//!
//! What counts, for an item and for a member (of a type or trait):
//!
//! 1. an example in its own documentation,
//! 2. a link in it to something that has an example of its own: an item, a module, the crate,
//! 3. for a member: the example of its type uses it by name, or so does one that its type links to.
//!
//! The C interface is another matter: there `cargo xtask capi` wants each function called in a C program.
//!
//! The sources are read, not rustdoc's JSON, which only nightly writes. That `pub` means public is `unreachable_pub`'s business;
//! fields, variants and implementations of traits belong to their type.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use syn::{Attribute, Expr, ImplItem, Item, Lit, Meta, TraitItem, Type, Visibility};

use crate::capi;
use crate::sh::Outcome;
use crate::workspace::{Package, Workspace};

/// Something that users can name, or a module that they can read.
struct Public {
    /// `Type::member`, `item`, `module`, or `crate`.
    name: String,
    kind: Kind,
    /// Where it is.
    file: String,
    docs: String,
}

#[derive(PartialEq)]
enum Kind {
    Module,
    Item,
    Member,
}

/// Looks at all of them.
pub(crate) fn run() -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let (mut count, mut unserved) = (0, 0);
    let mut libraries = Vec::new();
    let in_rust = |package: &Package<'_>| package.is_library() && package.name() != capi::CRATE;
    for package in workspace.packages().filter(|package| package.is_published() && in_rust(package)) {
        let mut items = Vec::new();
        read_folder(&package.folder().join("src"), package.name(), &mut items)?;
        libraries.push(items);
    }
    // Links cross the borders of crates.
    let examples = Examples::of(libraries.iter().flatten());
    for items in &libraries {
        for item in items.iter().filter(|item| item.kind != Kind::Module) {
            count += 1;
            // One of several builds' versions is enough.
            let same = items.iter().filter(|other| other.name == item.name && other.kind == item.kind);
            if !same.into_iter().any(|item| examples.serve(item)) {
                eprintln!("{}: {}", item.file, item.name);
                unserved += 1;
            }
        }
    }
    ensure!(unserved == 0, "{unserved} of {count} public items have no example and lead to none");
    println!("all {count} public items have an example or lead to one");
    Ok(Outcome::Done)
}

/// The code of all examples and the links of all items, by the last part of the item's name.
struct Examples<'a> {
    code: HashMap<&'a str, String>,
    links: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Examples<'a> {
    fn of(items: impl Iterator<Item = &'a Public>) -> Self {
        let mut all = Examples { code: HashMap::new(), links: HashMap::new() };
        for item in items {
            let name = last_name(&item.name);
            *all.code.entry(name).or_default() += &code_of(&item.docs);
            if item.kind == Kind::Item {
                all.links.entry(name).or_default().extend(links(&item.docs));
            }
        }
        all
    }

    fn serve(&self, item: &Public) -> bool {
        let has_code = |name: &&str| self.code.get(*name).is_some_and(|code| !code.is_empty());
        if !code_of(&item.docs).is_empty() || links(&item.docs).iter().any(has_code) {
            return true;
        }
        let Some((parent, member)) = item.name.split_once("::") else { return false };
        let shown = |name: &str| self.code.get(name).is_some_and(|code| uses(code, member));
        shown(parent) || self.links.get(parent).is_some_and(|links| links.iter().any(|link| shown(link)))
    }
}

fn last_name(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or_default()
}

/// The fenced code in `docs` that is not marked as text.
fn code_of(docs: &str) -> String {
    let mut code = String::new();
    let (mut inside, mut is_code) = (false, false);
    for line in docs.lines().map(str::trim_start) {
        if let Some(mark) = line.strip_prefix("```") {
            inside = !inside;
            is_code = inside && !mark.starts_with("text");
        } else if is_code {
            code += line;
            code.push('\n');
        }
    }
    code
}

/// What the links in `docs` lead to: the last names of `[path]` and `[text](path)`.
fn links(docs: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for part in docs.split('[').skip(1) {
        let Some((text, rest)) = part.split_once(']') else { continue };
        let target = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(text, |(target, _)| target);
        let target = target.trim_matches('`').split('#').next().unwrap_or_default();
        found.push(target.trim_end_matches("()").rsplit([':', '@']).next().unwrap_or_default());
    }
    found
}

/// Whether `code` has `name` as a word.
fn uses(code: &str, name: &str) -> bool {
    code.split(|char: char| !char.is_alphanumeric() && char != '_').any(|word| word == name)
}

// === reading the sources ===

fn read_folder(folder: &Path, package: &str, into: &mut Vec<Public>) -> Result<()> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    // What a file of the folder declares hidden is not read.
    let mut hidden = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let text = fs::read_to_string(path)?;
        let parsed = syn::parse_file(&text).with_context(|| format!("{} does not parse", path.display()))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = match &*stem {
            "lib" => "crate".into(),
            "mod" => folder.file_name().unwrap_or_default().to_string_lossy(),
            _ => stem,
        };
        let file = format!("{package}/{name}");
        read_items(&parsed.items, &file, into);
        into.push(Public { name: name.into_owned(), kind: Kind::Module, file, docs: docs(&parsed.attrs) });
        hidden.extend(parsed.items.iter().filter_map(|item| match item {
            Item::Mod(module) if is_hidden(&module.attrs) => Some(module.ident.to_string()),
            _ => None,
        }));
    }
    into.retain(|item| !hidden.iter().any(|name| item.file == format!("{package}/{name}")));
    paths.iter().filter(|path| path.is_dir()).try_for_each(|folder| read_folder(folder, package, into))
}

fn read_items(items: &[Item], file: &str, into: &mut Vec<Public>) {
    let mut add = |vis: &Visibility, kind: Kind, name: String, attrs: &[Attribute]| {
        if matches!(vis, Visibility::Public(_)) && !is_hidden(attrs) {
            into.push(Public { name, kind, file: file.to_owned(), docs: docs(attrs) });
        }
    };
    let mut modules = Vec::new();
    for item in items {
        match item {
            Item::Const(item) => add(&item.vis, Kind::Item, item.ident.to_string(), &item.attrs),
            Item::Enum(item) => add(&item.vis, Kind::Item, item.ident.to_string(), &item.attrs),
            Item::Fn(item) => add(&item.vis, Kind::Item, item.sig.ident.to_string(), &item.attrs),
            Item::Static(item) => add(&item.vis, Kind::Item, item.ident.to_string(), &item.attrs),
            Item::Struct(item) => add(&item.vis, Kind::Item, item.ident.to_string(), &item.attrs),
            Item::Type(item) => add(&item.vis, Kind::Item, item.ident.to_string(), &item.attrs),
            Item::Union(item) => add(&item.vis, Kind::Item, item.ident.to_string(), &item.attrs),
            Item::Trait(item) => {
                add(&item.vis, Kind::Item, item.ident.to_string(), &item.attrs);
                for member in &item.items {
                    let (name, attrs) = match member {
                        TraitItem::Const(member) => (&member.ident, &member.attrs),
                        TraitItem::Fn(member) => (&member.sig.ident, &member.attrs),
                        TraitItem::Type(member) => (&member.ident, &member.attrs),
                        _ => continue,
                    };
                    add(&item.vis, Kind::Member, format!("{}::{name}", item.ident), attrs);
                }
            }
            Item::Impl(item) if item.trait_.is_none() && !is_hidden(&item.attrs) => {
                let Type::Path(path) = &*item.self_ty else { continue };
                let Some(of) = path.path.segments.last() else { continue };
                for member in &item.items {
                    let (vis, name, attrs) = match member {
                        ImplItem::Const(member) => (&member.vis, &member.ident, &member.attrs),
                        ImplItem::Fn(member) => (&member.vis, &member.sig.ident, &member.attrs),
                        _ => continue,
                    };
                    add(vis, Kind::Member, format!("{}::{name}", of.ident), attrs);
                }
            }
            Item::Mod(module) if !is_hidden(&module.attrs) => modules.push(module),
            _ => {}
        }
    }
    for module in modules {
        if let Some((_, items)) = &module.content {
            let start = into.len();
            read_items(items, file, into);
            // Types in a module of one's own are nobody else's; methods are their type's, wherever they stand.
            if !matches!(module.vis, Visibility::Public(_)) {
                let members = into.split_off(start).into_iter().filter(|item| item.kind == Kind::Member);
                into.extend(members);
            }
        }
    }
}

/// Only there for tests, or for nobody to read.
fn is_hidden(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| match &attr.meta {
        Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string().contains("test"),
        Meta::List(list) if list.path.is_ident("doc") => list.tokens.to_string() == "hidden",
        _ => false,
    })
}

fn docs(attrs: &[Attribute]) -> String {
    let line = |attr: &Attribute| {
        let Meta::NameValue(pair) = &attr.meta else { return None };
        let Expr::Lit(literal) = &pair.value else { return None };
        let Lit::Str(text) = &literal.lit else { return None };
        pair.path.is_ident("doc").then(|| text.value())
    };
    attrs.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{Examples, Kind, Public, code_of, links};

    fn item(name: &str, docs: &str) -> Public {
        let kind = if name.contains("::") { Kind::Member } else { Kind::Item };
        Public { name: name.into(), kind, file: String::new(), docs: docs.into() }
    }

    #[test]
    fn links_and_code_are_found() {
        assert_eq!(links("[`A`], [b](mod@b#examples), [`C::d()`](crate::C::d), [open"), ["A", "b", "d"]);
        assert_eq!(code_of("a\n```text\nno\n```\n ```\n yes\n ```\n"), "yes\n");
    }

    #[test]
    fn who_is_served() {
        let example = "```\nlet a = A::new().used();\n```";
        let items = [
            item("A", example),
            item("A::used", "Shown by its type."),
            item("A::unused", "Shown nowhere."),
            item("A::linked", "Leads to [`B`]."),
            item("B", "Has one.\n```\nB\n```"),
            item("C", "Leads to [`A`]."),
            item("C::used", "Shown by what its type leads to."),
            item("C::unused", "Shown nowhere."),
            item("D", "Leads to [`E`]."),
            item("E", "Has none."),
        ];
        let examples = Examples::of(items.iter());
        let served: Vec<_> = items.iter().filter(|item| examples.serve(item)).map(|item| item.name.as_str()).collect();
        assert_eq!(served, ["A", "A::used", "A::linked", "B", "C", "C::used"]);
    }
}
