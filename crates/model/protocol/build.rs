//! Compiles Mezzo's own message files; Mesos' messages come from `mezzo-mesos`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=../mesos/proto");
    let descriptors = protox::compile(
        ["mezzo/link.proto", "mezzo/records.proto", "mezzo/services.proto"],
        ["proto", "../mesos/proto"],
    )?;
    prost_build::Config::new()
        .btree_map(["."])
        // Inline they would make every message of the link as big as the biggest.
        .boxed(".mezzo.link.ToAgent.message.registered")
        .boxed(".mezzo.link.ToAgent.message.run")
        .boxed(".mezzo.link.ToAgent.message.apply_operation")
        .extern_path(".mesos.v1", "::mezzo_mesos::v1")
        .compile_fds(descriptors)?;
    Ok(())
}
