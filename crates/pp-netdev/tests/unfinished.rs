//! The last thing before a process ends: nothing hidden is left. A process of its own, for it is the end of all outputs.

#![allow(clippy::std_instead_of_core, reason = "as in the crate")]

use std::fs;

use pp_netdev::port::{OutputFile, remove_unfinished};

#[test]
fn hidden_files_are_removed_and_complete_ones_stay() {
    let directory = tempfile::tempdir().unwrap();
    let names = || {
        let entries = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    fs::write(directory.path().join("before"), b"kept").unwrap();
    let outputs = ["complete", "before", "new", "dropped"].map(|name| {
        let mut output = OutputFile::create(&directory.path().join(name)).unwrap();
        output.write(b"some").unwrap();
        output
    });
    assert_eq!(names().len(), 5);
    let [mut complete, before, new, dropped] = outputs;
    complete.finish().unwrap();
    drop(dropped);
    assert_eq!(names().len(), 4);
    remove_unfinished();
    assert_eq!(names(), ["before", "complete"]);
    assert_eq!(fs::read(directory.path().join("before")).unwrap(), b"kept");
    // As in a process that exits: what is dropped afterwards would wait.
    std::mem::forget([before, new]);
}
