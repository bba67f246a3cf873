//! Converts an SVG image to a PNG image.
//!
//! The text of the image uses the first installed font in the font list of the chart. A machine without these fonts,
//! for example a build server, uses a font that is part of this program.

use crate::error::{CliError, Result};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::{Database, Family, Query, Source};
use resvg::usvg::{Options, Tree};
use std::sync::Arc;

pub fn render(svg: &str, width: u32) -> Result<Vec<u8>> {
    let options = Options { fontdb: Arc::new(load_fonts()), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(CliError::other)?;
    let scale = width as f32 / tree.size().width();
    let height = (tree.size().height() * scale).ceil() as u32;
    let too_large = || CliError::usage(format!("a picture of {width} × {height} pixels is too large; reduce --width"));
    let mut picture = Pixmap::new(width, height).ok_or_else(too_large)?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut picture.as_mut());
    picture.encode_png().map_err(CliError::other)
}

fn load_fonts() -> Database {
    let mut fonts = Database::new();
    fonts.load_system_fonts();
    let preferred = ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"];
    let installed = preferred.iter().copied().find(|name| {
        let families = [Family::Name(name)];
        fonts.query(&Query { families: &families, ..Query::default() }).is_some()
    });
    let sans_serif = match installed {
        Some(name) => name.to_owned(),
        None => {
            let ids = fonts.load_font_source(Source::Binary(Arc::new(epaint_default_fonts::UBUNTU_LIGHT)));
            let face = ids.first().and_then(|id| fonts.face(*id));
            face.and_then(|face| face.families.first()).map_or(String::new(), |(name, _)| name.clone())
        }
    };
    fonts.set_sans_serif_family(sans_serif);
    fonts
}
