//! What was aimed at, beside what came out.

use crate::table::Table;

/// Collected while the tables are printed.
#[derive(Default)]
pub(super) struct Targets(Vec<[String; 4]>);

impl Targets {
    pub(super) fn at_least(&mut self, what: &str, target: f64, figure: f64) {
        self.note(
            what,
            format!(">= {target:.2}"),
            format!("{figure:.2}"),
            figure >= target,
        );
    }

    pub(super) fn at_most(&mut self, what: &str, target: f64, figure: f64) {
        self.note(
            what,
            format!("<= {target:.0}"),
            format!("{figure:.0}"),
            figure <= target,
        );
    }

    fn note(&mut self, what: &str, target: String, figure: String, is_met: bool) {
        let verdict = if is_met { "met" } else { "missed" };
        self.0
            .push([what.to_owned(), target, figure, verdict.to_owned()]);
    }

    pub(super) fn print(self) {
        if self.0.is_empty() {
            return;
        }
        let mut table = Table::new(["quantity", "target", "figure", ""]);
        for row in self.0 {
            table.row(row);
        }
        table.print("Targets");
    }
}
