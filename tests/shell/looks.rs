//! Looks that take nothing for what is expected.

use std::collections::BTreeMap;

use mmm::core::script::{Expected, Looking, StepOutcome};

use super::{SHELLS, login, open, outcomes, run, script, soon, sql};
use crate::server::Server;

/// A look that takes no row, or an error that says the same, for what is expected.
#[tokio::test]
async fn nothing_may_be_as_good() {
    let server = Server::start(1);
    for name in SHELLS {
        let (mut shell_, _child) = open(name, "t3", &login(&server)).await;
        for (asked, or_none, holds) in [
            ("SHOW SLAVE 'gone' STATUS", Some(vec![3074, 1617]), true),
            ("SHOW SLAVE 'gone' STATUS", Some(vec![3074]), false),
            ("SHOW SLAVE 'gone' STATUS", None, false),
            ("SHOW SLAVE '' STATUS", Some(vec![]), true),
            ("SHOW SLAVE '' STATUS", None, false),
            // What a connection shows whose receiving thread alone has stopped.
            (
                "SELECT '' AS Slave_IO_State, 'Yes' AS Slave_IO_Running",
                Some(vec![1617]),
                false,
            ),
            (
                "SELECT '' AS Slave_IO_State, 'No' AS Slave_IO_Running",
                Some(vec![1617]),
                true,
            ),
            ("SELECT 'No' AS Slave_IO_Running", Some(vec![1617]), true),
            ("SELECT 'Yes' AS Slave_IO_Running", Some(vec![1617]), false),
        ] {
            let mut one = run("true");
            one.unless = Some(Looking {
                command: sql(asked),
                expect: Expected::Columns {
                    values: BTreeMap::from([("Slave_IO_Running".to_owned(), "No".to_owned())]),
                    same: BTreeMap::new(),
                },
                or_none: or_none.clone(),
            });
            let report = shell_.run(&script(vec![one]), soon()).await;
            let already = outcomes(&report) == [StepOutcome::Already];
            assert_eq!(already, holds, "{name}: {asked}, {or_none:?}: {report:?}");
        }
    }
}
