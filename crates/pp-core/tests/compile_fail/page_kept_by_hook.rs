//! A hook sees a page, and cannot keep its bytes.

use pp_core::{Host, PageView};

fn kept<'a>(mut page: PageView<'a, Host>) -> Option<&'a mut [u8]> {
    page.bytes_mut()
}

fn main() {}
