//! Loads every program (development aid).
use agent::host::btf::Btf;
use agent::load::globals::{Facts, resolve};
fn main() {
    let btf = Btf::of_kernel().unwrap();
    let g = resolve(
        &btf,
        &Facts {
            cgroup_v1_subsys: Some(
                std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(9),
            ),
            hierarchy_id: 8,
            agent_tgid: std::process::id(),
        },
    );
    println!("{:?}", g.missing);
    let mut l = aya::EbpfLoader::new();
    l.allow_unsupported_maps();
    for (n, v) in &g.values {
        l.override_global(n, v, false);
    }
    let abtf = aya::Btf::from_sys_fs().unwrap();
    let mut e = l
        .load(&std::fs::read("target/bpf/bpfel-unknown-none/release/strata-ebpf").unwrap())
        .unwrap();
    let names: Vec<String> = e.programs().map(|(n, _)| n.to_owned()).collect();
    for n in names {
        let p = e.program_mut(&n).unwrap();
        let r = match p {
            aya::programs::Program::BtfTracePoint(p) => p.load(&n, &abtf),
            aya::programs::Program::Iter(p) => p.load("bpf_sk_storage_map", &abtf),
            _ => panic!(),
        };
        match r {
            Ok(()) => println!(
                "{n}: ok {:?}",
                e.program(&n).unwrap().info().unwrap().verified_instruction_count()
            ),
            Err(err) => {
                let s = format!("{err:#?}").replace("\\n", "\n");
                let t: Vec<&str> = s.lines().collect();
                println!("{n}: FAILED\n{}", t[t.len().saturating_sub(40)..].join("\n"));
            }
        }
    }
}
