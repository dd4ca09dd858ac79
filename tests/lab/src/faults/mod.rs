//! The table of faults: each scenario played in a lab of its own against a real monitor under write load, judged by the
//! lab's judges, and told as one row.
//!
//! * `scenario` is what a scenario is made of, and what may be expected of it.
//! * `scenes` is the list of them all, as data; `strikes` does what takes more than a line.
//! * `stage` is what a scenario acts on: the lab, its monitor and its load. `told` reads what mmm says and writes down.
//! * `play` plays one scenario under one policy; `alone` is what a server has alone, by its log and its table; `row` is what came of it, and the Markdown table.

mod alone;
mod play;
mod row;
mod scenario;
mod scenes;
mod stage;
mod strikes;
mod told;

pub use play::play;
pub use row::{Row, markdown};
pub use scenario::{Decided, Expected, Policy, Scenario};
pub use scenes::SCENES;
pub use stage::Stage;
pub use strikes::EVENT;
