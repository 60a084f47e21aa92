"""A custom executor on the unmodified pymesos driver: runs tasks as threads, echoes messages."""

import sys
import threading
import time

from pymesos import Executor, MesosExecutorDriver, decode_data, encode_data


class EchoExecutor(Executor):
    def __init__(self):
        self.killed = {}

    def registered(self, driver, executorInfo, frameworkInfo, agentInfo):
        print("registered", executorInfo["executor_id"]["value"], flush=True)

    def launchTask(self, driver, task):
        stop = self.killed.setdefault(task["task_id"]["value"], threading.Event())
        threading.Thread(target=self.run, args=(driver, task, stop), daemon=True).start()

    def run(self, driver, task, stop):
        def update(state, **more):
            driver.sendStatusUpdate(dict(task_id=task["task_id"], state=state, timestamp=time.time(), **more))

        update("TASK_RUNNING", data=encode_data(b"from the executor"))
        work = decode_data(task["data"]).decode()
        if work == "wait":
            stop.wait(60)
            update("TASK_KILLED" if stop.is_set() else "TASK_FAILED")
        else:
            update("TASK_FINISHED", message="worked on " + work)

    def killTask(self, driver, taskId):
        self.killed[taskId["value"]].set()

    def frameworkMessage(self, driver, message):
        driver.sendFrameworkMessage(encode_data(b"echo:" + decode_data(message)))

    def shutdown(self, driver):
        print("shutdown", flush=True)

    def error(self, driver, message):
        print("error", message, flush=True)


if __name__ == "__main__":
    driver = MesosExecutorDriver(EchoExecutor())
    driver.run()
    sys.exit(0)
