//! The cookbook below `examples/policies`: every recipe loads beside the shipped rulebook, its tests come to each of its
//! lines, and the transcript in its README is what really happens. `tests/it/cookbook/NAME.toml` says what is done.

mod judged;
mod live;
mod recipe;
mod script;
mod transcript;

use std::fs;
use std::path::Path;

use portcullis::policy::{Snapshot, Source, lint, testing};
use serde_json::json;

use crate::rulebook::shipped_rulebook;
use crate::support;
use recipe::Recipe;

#[test]
fn the_tests_of_each_recipe_pass_and_come_to_every_line() {
    for recipe in recipes() {
        let sources: Vec<Source> = shipped_rulebook().into_iter().chain(recipe.sources()).collect();
        let suite = testing::Suite::load(&sources).unwrap_or_else(|error| panic!("{error}"));
        let mut coverage = suite.uncovered();
        let own = |file: &str| file.starts_with(&format!("{}/", recipe.name));
        let mut ran = 0;
        for test in suite.tests().iter().filter(|test| own(&test.file)) {
            let result = suite.run(test);
            assert!(result.passed, "{result:#?}");
            coverage.add(&result.coverage);
            ran += 1;
        }
        assert!(ran >= 2, "{}: {ran} tests", recipe.name);
        let missed: Vec<_> =
            coverage.files().filter(|(file, lines)| own(file) && !lines.not_covered.is_empty()).collect();
        assert!(missed.is_empty(), "{missed:#?}");
    }
}

/// Recipes are add-ons: whoever takes one can take another one.
#[test]
fn all_recipes_load_together_and_nothing_about_them_is_odd() {
    let sources: Vec<Source> =
        shipped_rulebook().into_iter().chain(recipes().iter().flat_map(Recipe::sources)).collect();
    Snapshot::build(&sources, &json!({})).unwrap();
    let findings = lint::check(&sources, &json!({}));
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn the_index_names_every_recipe_once_with_its_requirement() {
    let index = fs::read_to_string(recipe::cookbook().join("README.md")).unwrap();
    let recipes = recipes();
    assert!(recipes.len() >= 25, "{}", recipes.len());
    for recipe in &recipes {
        let row = format!("| {} | [{}]({}) |", recipe.requirement(), recipe.name, recipe.name);
        assert_eq!(index.matches(&row).count(), 1, "this line belongs into the index:\n{row}");
    }
    assert_eq!(index.matches("\n| ").count(), recipes.len() + 1, "the index names what is not there");
    let scripts = fs::read_dir(recipe::scripts()).unwrap().map(|entry| entry.unwrap().path());
    let scripts = scripts.filter(|path| path.extension().is_some_and(|end| end == "toml")).count();
    assert_eq!(scripts, recipes.len(), "a script without a recipe");
}

#[tokio::test(flavor = "multi_thread")]
async fn transcripts_are_what_happens_1() {
    play(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transcripts_are_what_happens_2() {
    play(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transcripts_are_what_happens_3() {
    play(2).await;
}

/// Plays every third recipe, one after the other on one cluster, and holds its README to what came out.
async fn play(first: usize) {
    let mut cluster = support::shop_cluster().await;
    let mut outdated = Vec::new();
    let chosen = std::env::var("COOKBOOK").ok();
    let recipes = recipes();
    for recipe in recipes.iter().skip(first).step_by(3) {
        if chosen.as_ref().is_some_and(|name| *name != recipe.name) {
            continue;
        }
        let (played, after) = live::play(recipe, cluster).await;
        cluster = after;
        let readme = recipe.with_transcript(&played);
        if readme != recipe.readme {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cookbook");
            fs::create_dir_all(&folder).unwrap();
            let new = folder.join(format!("{}.md", recipe.name));
            fs::write(&new, readme).unwrap();
            outdated.push(format!("cp {} {}\n{played}", new.display(), recipe.folder.join("README.md").display()));
        }
    }
    assert!(outdated.is_empty(), "transcripts have changed; if that is meant:\n\n{}", outdated.join("\n"));
}

fn recipes() -> Vec<Recipe> {
    let folders = fs::read_dir(recipe::cookbook()).unwrap().map(|entry| entry.unwrap().path());
    // A rulebook of its own, which nothing can be added to.
    let mut folders: Vec<_> =
        folders.filter(|path| path.is_dir() && !path.ends_with("allow-all")).collect();
    folders.sort();
    folders.iter().map(|folder| Recipe::read(folder)).collect()
}
