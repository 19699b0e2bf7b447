//! Verbs of the project.

mod vm;

use std::io::Write as _;

fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("vm") {
        let reports = vm::run(&vm::KERNELS)?;
        write!(std::io::stdout(), "{}", vm::table(&reports))?;
        let failures: Vec<String> = reports.iter().flat_map(vm::GuestReport::failures).collect();
        anyhow::ensure!(failures.is_empty(), "the kernel matrix fails:\n{}", failures.join("\n"));
    }
    Ok(())
}
