//! Tables that fit the width of the terminal.
//!
//! If a table is too wide, its least important columns are omitted first. Then the columns of text are wrapped. Numbers
//! are never wrapped.

use super::text::{Style, escape};
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, CellAlignment, Color, ColumnConstraint, ContentArrangement};
use std::fmt::Display;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    /// Whether the content can be wrapped.
    wraps: bool,
    is_right_aligned: bool,
    /// The column is omitted before all columns with a higher importance. `None`: it is never omitted.
    importance: Option<u8>,
}

impl Column {
    /// Creates a column of text, which can be wrapped.
    pub const fn text(title: &'static str) -> Column {
        Column { title, wraps: true, is_right_aligned: false, importance: None }
    }

    /// Creates a column of numbers or words that must stay in one piece.
    pub const fn whole(title: &'static str) -> Column {
        Column { title, wraps: false, is_right_aligned: false, importance: None }
    }

    /// Aligns the content to the right.
    pub const fn right(self) -> Column {
        Column { is_right_aligned: true, ..self }
    }

    /// Allows that a narrow table omits the column, before those of a higher importance.
    pub const fn optional(self, importance: u8) -> Column {
        Column { importance: Some(importance), ..self }
    }
}

/// A cell of a table. Control characters of its text are escaped.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub fn new(text: impl Display) -> Cell {
        Cell { text: escape(&text.to_string()).into_owned(), style: Style::Plain }
    }

    pub fn style(self, style: Style) -> Cell {
        Cell { style, ..self }
    }
}

/// A table with a title for each column.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(columns: impl Into<Vec<Column>>) -> Table {
        Table { columns: columns.into(), rows: vec![] }
    }

    /// Appends a row. It can have fewer cells than the table has columns.
    pub fn add_row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Returns the lines of the table with color codes. `width` is the width of the terminal; `None` means that the
    /// table can have any width.
    pub fn lines(&self, width: Option<usize>) -> Vec<String> {
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let Some(width) = width else { return self.layout(&shown).lines().collect() };
        while self.natural_width(&shown) > width {
            let optional = shown.iter().filter_map(|index| Some((self.columns[*index].importance?, *index)));
            let Some((_, least)) = optional.min() else { break };
            shown.retain(|index| *index != least);
        }
        let mut table = self.layout(&shown);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.try_into().unwrap_or(u16::MAX));
        for (place, index) in shown.iter().enumerate() {
            if let Some(column) = table.column_mut(place).filter(|_| !self.columns[*index].wraps) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table.lines().collect()
    }

    /// Returns the width of the table if nothing is wrapped.
    fn natural_width(&self, shown: &[usize]) -> usize {
        self.layout(shown).column_max_content_widths().into_iter().map(|width| usize::from(width) + PADDING).sum()
    }

    fn layout(&self, shown: &[usize]) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        // The output stream removes the color codes if the terminal does not support them.
        table.load_style(NOTHING).enforce_styling();
        let title = |index: &usize| comfy_table::Cell::new(self.columns[*index].title).add_attribute(Attribute::Dim);
        table.set_header(shown.iter().map(title));
        for row in &self.rows {
            table.add_row(shown.iter().map(|index| row.get(*index).map_or("".into(), Cell::to_comfy)));
        }
        for (place, index) in shown.iter().enumerate() {
            if let Some(column) = table.column_mut(place).filter(|_| self.columns[*index].is_right_aligned) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

/// The number of spaces around the content of a cell.
const PADDING: usize = 2;

impl Cell {
    fn to_comfy(&self) -> comfy_table::Cell {
        let cell = comfy_table::Cell::new(&self.text);
        match self.style {
            Style::Plain => cell,
            Style::Bold => cell.add_attribute(Attribute::Bold),
            Style::Red => cell.fg(Color::Red),
            Style::Green => cell.fg(Color::Green),
            Style::Yellow => cell.fg(Color::Yellow),
            Style::Cyan => cell.fg(Color::Cyan),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain_lines(table: &Table, width: Option<usize>) -> Vec<String> {
        table.lines(width).iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    fn example() -> Table {
        let mut table = Table::new([
            Column::text("tensor"),
            Column::whole("min").right(),
            Column::whole("std").right().optional(2),
            Column::whole("zeros").right().optional(1),
        ]);
        table.add_row(["encoder.layer.weight", "-0.123456", "0.5", "12.5 %"].map(Cell::new));
        table.add_row([Cell::new("b\x1b[2J\nc").style(Style::Red), Cell::new(1)]);
        table
    }

    #[test]
    fn a_narrow_table_omits_the_least_important_columns_and_then_wraps_text() {
        let table = example();
        let full = plain_lines(&table, None);
        assert_eq!(full, plain_lines(&table, Some(200)));
        let natural = full.iter().map(|line| line.chars().count()).max().unwrap();
        for width in [natural, natural - 1, 38, 37, 30, 24, 20] {
            let lines = plain_lines(&table, Some(width));
            let text = lines.join("\n");
            assert!(lines.iter().all(|line| line.trim_end().chars().count() <= width), "{width}\n{text}");
            assert!(text.contains("-0.123456"), "{width}\n{text}");
            assert_eq!(text.contains("zeros"), width >= natural, "{width}\n{text}");
            assert_eq!(text.contains("std"), width >= 38, "{width}\n{text}");
        }
    }

    #[test]
    fn cells_contain_no_control_characters() {
        let text = plain_lines(&example(), None).join("\n");
        assert!(text.contains(r"b\u{1b}[2J\u{a}c"), "{text}");
    }
}
