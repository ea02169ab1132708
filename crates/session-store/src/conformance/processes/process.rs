//! Another process, as the one that started it sees it.

use std::env;
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::task::{DONE, READY, TASK, Task};
use super::{Shared, Verdict};
use crate::conformance::{Violation, expect};
use crate::id::SessionId;

/// Another process. It is killed when this is dropped.
pub(super) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(super) fn start<S: Shared>(
        server: &S,
        test: &str,
        task: Task,
        id: &SessionId,
        share: usize,
    ) -> Result<Self, Violation> {
        let secret: String = id
            .secret_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        // The harness knows a test by its path within the crate.
        let test = test.split_once("::").map_or(test, |(_, path)| path);
        let program = ran(env::current_exe())?;
        let mut child = ran(Command::new(program)
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(
                TASK,
                format!("{task} {secret} {share} {}", server.address()),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn())?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or_else(|| silent("no output"))?;
        Ok(Process {
            child,
            input,
            output: BufReader::new(output).lines(),
        })
    }

    /// Waits for a word.
    pub(super) fn hear(&mut self, word: &str) -> Verdict {
        for line in &mut self.output {
            if ran(line)? == word {
                return Ok(());
            }
        }
        Err(silent(word))
    }

    /// Waits for its end.
    pub(super) fn finish(&mut self) -> Verdict {
        for line in &mut self.output {
            ran(line)?;
        }
        let status = ran(self.child.wait())?;
        expect("a process finds nothing wrong", status.success(), true)
    }

    /// Ends it at once, and counts what it had said is done that was not heard before.
    pub(super) fn kill(&mut self) -> Result<usize, Violation> {
        ran(self.child.kill())?;
        let mut done = 0;
        for line in &mut self.output {
            done += usize::from(ran(line)? == DONE);
        }
        Ok(done)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, or there is nobody left to be told.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ran<T>(answer: io::Result<T>) -> Result<T, Violation> {
    answer.map_err(|error| Violation {
        promise: "processes can be started and heard",
        detail: error.to_string(),
    })
}

fn silent(word: &str) -> Violation {
    Violation {
        promise: "a process works until it is done, and says so",
        detail: format!("it ended before it said {word:?}"),
    }
}

/// Lets processes begin at once, when all are ready to.
pub(super) fn begin(processes: &mut [Process]) -> Verdict {
    for process in &mut *processes {
        process.hear(READY)?;
    }
    for process in processes {
        if let Some(mut input) = process.input.take() {
            ran(writeln!(input))?;
        }
    }
    Ok(())
}
