//! SVG to PNG.
//!
//! Text is set in the fonts of the system, if it has one of those that the chart asks for, and in one that is built
//! in where it has none: a machine in a cellar often has none.

use crate::failure::{Failure, Result};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::{Database, Family, Query, Source};
use resvg::usvg::{Options, Tree};
use std::sync::Arc;

pub fn render(svg: &str, width: u32) -> Result<Vec<u8>> {
    let options = Options { fontdb: Arc::new(fonts()), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(Failure::other)?;
    let scale = width as f32 / tree.size().width();
    let height = (tree.size().height() * scale).ceil() as u32;
    let mut picture = Pixmap::new(width, height).ok_or_else(|| Failure::usage("the picture is too large"))?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut picture.as_mut());
    picture.encode_png().map_err(Failure::other)
}

fn fonts() -> Database {
    let mut fonts = Database::new();
    fonts.load_system_fonts();
    let wanted = ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"];
    let found = wanted.iter().copied().find(|name| {
        let families = [Family::Name(name)];
        fonts.query(&Query { families: &families, ..Query::default() }).is_some()
    });
    let sans = match found {
        Some(name) => name.to_owned(),
        None => {
            let ids = fonts.load_font_source(Source::Binary(Arc::new(epaint_default_fonts::UBUNTU_LIGHT)));
            let face = ids.first().and_then(|id| fonts.face(*id));
            face.and_then(|face| face.families.first()).map_or(String::new(), |(name, _)| name.clone())
        }
    };
    fonts.set_sans_serif_family(sans);
    fonts
}
