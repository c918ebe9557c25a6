"""An executor on pymesos: its tasks run until they are told to finish, or are killed."""

import base64
import threading

from pymesos import Executor, MesosExecutorDriver


class Tasks(Executor):
    def __init__(self):
        self.running = []

    def update(self, driver, task_id, state):
        driver.sendStatusUpdate({"task_id": task_id, "state": state})

    def launchTask(self, driver, task):
        name = base64.b64decode(task["data"]).decode()
        assert name == task["task_id"]["value"], "the task's data is not what the framework sent"
        self.running.append(task["task_id"])
        self.update(driver, task["task_id"], "TASK_RUNNING")

    def killTask(self, driver, task_id):
        self.running.remove(task_id)
        self.update(driver, task_id, "TASK_KILLED")

    def frameworkMessage(self, driver, message):
        assert base64.b64decode(message) == b"finish"
        driver.sendFrameworkMessage(base64.b64encode(b"finishing").decode())
        for task_id in [task for task in self.running if task["value"].startswith("finish")]:
            self.running.remove(task_id)
            self.update(driver, task_id, "TASK_FINISHED")

    def shutdown(self, driver):
        threading.Timer(0.1, driver.stop).start()


if __name__ == "__main__":
    MesosExecutorDriver(Tasks()).run()
