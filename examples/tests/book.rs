//! Holds that the book quotes programs that compile, and nothing else.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

fn chapter_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("book/src")
}

fn chapters() -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(chapter_folder()).expect("the book is there");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let chapters = paths.filter(|path| path.extension() == Some(OsStr::new("md")));
    chapters.map(|path| (path.clone(), fs::read_to_string(path).expect("a chapter is text"))).collect()
}

/// The file and the anchor that a line includes, if it does.
fn include(line: &str) -> Option<(&str, &str)> {
    let inside = line.strip_prefix("{{#include ")?.strip_suffix("}}")?;
    Some(inside.split_once(':').unwrap_or((inside, "")))
}

/// The lines between the anchor's marks. Other anchors' marks do not count as lines.
fn quoted<'a>(source: &'a str, anchor: &str) -> Vec<&'a str> {
    let (begin, end) = (format!("ANCHOR: {anchor}"), format!("ANCHOR_END: {anchor}"));
    let is = |line: &str, mark: &str| line.trim().strip_prefix("// ") == Some(mark);
    let lines = source.lines().skip_while(|line| !is(line, &begin)).skip(1);
    let found: Vec<_> = lines.take_while(|line| !is(line, &end)).collect();
    assert!(source.lines().any(|line| is(line, &end)), "the anchor {anchor} has no end");
    found.into_iter().filter(|line| !line.contains("ANCHOR")).collect()
}

#[test]
fn every_include_finds_its_lines() {
    let mut count = 0;
    for (chapter, text) in chapters() {
        let chapter = chapter.display();
        for line in text.lines().filter(|line| line.contains("{{#")) {
            let (file, anchor) =
                include(line.trim()).unwrap_or_else(|| panic!("{chapter}: not understood: {line}"));
            assert!(!anchor.is_empty(), "{chapter} quotes all of {file}: name an anchor");
            let is_compiled = ["bin/", "on_tokio/"].map(|folder| format!("../../examples/src/{folder}"));
            assert!(
                is_compiled.iter().any(|folder| file.starts_with(folder)),
                "{chapter} quotes {file}, which is no program of the examples"
            );
            let path = chapter_folder().join(file);
            let source =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{chapter}: {file}: {error}"));
            let lines = quoted(&source, anchor);
            assert!(lines.iter().any(|line| !line.trim().is_empty()), "{chapter}: {file}:{anchor} is empty");
            assert!(lines.len() <= 40, "{chapter}: {file}:{anchor} is too long to read in a book");
            count += 1;
        }
    }
    assert!(count > 0, "the book quotes nothing");
}

#[test]
fn every_rust_listing_is_an_include() {
    for (chapter, text) in chapters() {
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(language) = line.trim_start().strip_prefix("```") else { continue };
            let inside: Vec<_> =
                lines.by_ref().take_while(|line| !line.trim_start().starts_with("```")).collect();
            let includes = inside.iter().filter(|line| include(line.trim()).is_some()).count();
            let chapter = chapter.display();
            assert!(!language.is_empty(), "{chapter}: a listing without a language: {inside:?}");
            if language.starts_with("rust") {
                assert_eq!(
                    (includes, inside.len()),
                    (1, 1),
                    "{chapter}: Rust that no compiler sees: {inside:?}"
                );
            }
        }
    }
}

#[test]
fn the_program_of_the_readme_is_hello() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let readme = fs::read_to_string(root.join("README.md")).expect("the page is there");
    let hello = fs::read_to_string(root.join("examples/src/bin/hello.rs")).expect("the program is there");
    let listing =
        readme.split("```rust\n").nth(1).and_then(|rest| rest.split("\n```").next()).expect("a listing");
    assert_eq!(listing.lines().collect::<Vec<_>>(), quoted(&hello, "all"));
    assert_eq!(readme.matches("```rust").count(), 1, "a second listing needs a program of its own");
}

#[test]
fn every_chapter_is_in_the_summary_and_links_lead_somewhere() {
    let chapters = chapters();
    let names: BTreeSet<_> =
        chapters.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
    let (_, summary) = chapters.iter().find(|(path, _)| path.ends_with("SUMMARY.md")).expect("a summary");
    for name in names.iter().filter(|name| **name != "SUMMARY.md") {
        assert!(summary.contains(&format!("({name})")), "{name} is not in the summary");
    }
    for (path, text) in &chapters {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().expect("split gives at least one part");
            let is_file = || path.with_file_name(file).is_file();
            let is_here = file.is_empty() || file.starts_with("https://") || is_file();
            assert!(is_here, "{} links to {link}, which is not there", path.display());
        }
    }
}
