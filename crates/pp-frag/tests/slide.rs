//! The example of the manual way is run, and nothing of it is lost.
#![cfg(not(any(loom, shuttle)))]

#[allow(dead_code, reason = "its main is the example's")]
#[path = "../examples/slide.rs"]
mod slide;

#[test]
fn every_page_of_the_slides_loop_comes_back() {
    let stats = slide::receive(1000).unwrap();
    // Two buffers to a page.
    assert_eq!((stats.allocations(), stats.puts(), stats.in_use()), (500, 500, 0));
}
