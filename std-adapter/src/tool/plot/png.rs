//! Converts an SVG image to a PNG image.
//!
//! The text of the image uses the first installed font in the font list of the chart. A machine without these fonts,
//! for example a build server, uses a font that is part of this program. Characters that the font does not have are drawn
//! with any other installed font, and emoji with another font of this program. A character that is in none of these fonts
//! is replaced by a question mark, and the user gets a note.

use crate::tool::error::{CliError, Result};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::{Database, Family, ID, Query, Source};
use resvg::usvg::{FontResolver, Options, Tree};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A PNG image.
pub struct Png {
    pub bytes: Vec<u8>,
    /// The characters that no font has. The replacement character, which stands for a control character, is not among
    /// them.
    pub missing: BTreeSet<char>,
}

pub fn render(svg: &str, width: u32) -> Result<Png> {
    let (fonts, bundled) = load_fonts();
    let fonts = Arc::new(fonts);
    let missing = missing_characters(svg, &fonts, bundled);
    let replaced = |c: char| if missing.contains(&c) { replacement(c) } else { Some(c) };
    let svg: String = svg.chars().filter_map(replaced).collect();
    let tree = Tree::from_str(&svg, &Options { fontdb: fonts, ..Options::default() }).map_err(CliError::other)?;
    let scale = width as f32 / tree.size().width();
    let height = (tree.size().height() * scale).ceil() as u32;
    let too_large = || CliError::usage(format!("a picture of {width} × {height} pixels is too large; reduce --width"));
    let mut picture = Pixmap::new(width, height).ok_or_else(too_large)?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut picture.as_mut());
    let bytes = picture.encode_png().map_err(CliError::other)?;
    let is_reported = |c: &char| *c != char::REPLACEMENT_CHARACTER && replacement(*c).is_some();
    Ok(Png { bytes, missing: missing.into_iter().filter(is_reported).collect() })
}

/// Returns the characters of `text` that no font has. `bundled` is one of at least two fonts.
fn missing_characters(text: &str, fonts: &Arc<Database>, bundled: ID) -> BTreeSet<char> {
    // The selector ignores the font that the text used so far. Two searches therefore cover all fonts.
    let select = FontResolver::default_fallback_selector();
    let other = fonts.faces().map(|face| face.id).find(|id| *id != bundled).unwrap_or(bundled);
    let has_font = |c: char| [bundled, other].iter().any(|used| select(c, &[*used], &mut Arc::clone(fonts)).is_some());
    let characters: BTreeSet<char> = text.chars().filter(|c| !c.is_ascii()).collect();
    characters.into_iter().filter(|c| !has_font(*c)).collect()
}

/// Returns the character that is drawn in place of one that no font has. Characters without a shape of their own, for
/// example the selector of a variant of an emoji, are removed.
fn replacement(character: char) -> Option<char> {
    let has_no_shape = matches!(character, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{E0000}'..='\u{E0FFF}');
    (!has_no_shape).then_some('?')
}

/// Returns all fonts, and the font of this program for emoji.
fn load_fonts() -> (Database, ID) {
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
    let emoji = fonts.load_font_source(Source::Binary(Arc::new(epaint_default_fonts::NOTO_EMOJI_REGULAR)));
    fonts.set_sans_serif_family(sans_serif);
    (fonts, emoji.first().copied().unwrap_or(ID::dummy()))
}
