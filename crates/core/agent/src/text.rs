//! Texts that schedulers and people read.

/// A wait status as Mesos words it: `exited with status 3`, `terminated with signal Killed`.
pub(crate) fn wait_status(status: i32) -> String {
    let signal = status & 0x7f;
    if signal == 0 {
        return format!("exited with status {}", (status >> 8) & 0xff);
    }
    let dumped = if status & 0x80 != 0 { " (core dumped)" } else { "" };
    match signal_name(signal) {
        Some(name) => format!("terminated with signal {name}{dumped}"),
        None => format!("terminated with signal Unknown signal {signal}{dumped}"),
    }
}

/// Whether the process ended by itself with status 0.
pub(crate) fn succeeded(status: i32) -> bool {
    status & 0xff7f == 0
}

/// The names that strsignal of the GNU C library gives.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "Hangup",
        2 => "Interrupt",
        3 => "Quit",
        4 => "Illegal instruction",
        5 => "Trace/breakpoint trap",
        6 => "Aborted",
        7 => "Bus error",
        8 => "Floating point exception",
        9 => "Killed",
        10 => "User defined signal 1",
        11 => "Segmentation fault",
        12 => "User defined signal 2",
        13 => "Broken pipe",
        14 => "Alarm clock",
        15 => "Terminated",
        16 => "Stack fault",
        17 => "Child exited",
        18 => "Continued",
        19 => "Stopped (signal)",
        20 => "Stopped",
        21 => "Stopped (tty input)",
        22 => "Stopped (tty output)",
        23 => "Urgent I/O condition",
        24 => "CPU time limit exceeded",
        25 => "File size limit exceeded",
        26 => "Virtual timer expired",
        27 => "Profiling timer expired",
        28 => "Window changed",
        29 => "I/O possible",
        30 => "Power failure",
        31 => "Bad system call",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_in_words() {
        assert_eq!(wait_status(0), "exited with status 0");
        assert_eq!(wait_status(3 << 8), "exited with status 3");
        assert_eq!(wait_status(15), "terminated with signal Terminated");
        assert_eq!(wait_status(9 | 0x80), "terminated with signal Killed (core dumped)");
        assert_eq!(wait_status(40), "terminated with signal Unknown signal 40");
        assert!(succeeded(0) && !succeeded(256) && !succeeded(9));
    }
}
