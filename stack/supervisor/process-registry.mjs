import { join } from "node:path";
import { Fault } from "../machine/fault.mjs";
import { writePrivateJson } from "../machine/files.mjs";
import { recordProcess } from "../machine/processes.mjs";
import { writeRun } from "./run-record.mjs";
import { supervise } from "./supervise.mjs";

/** @typedef {import("./service.mjs").Service} Service */

/**
 * What this supervisor runs. It writes `.stack/run.json` and `.stack/demo.json` at every change.
 * @param {{stackDir: string, log: (line: string) => void}} given
 */
export function createProcessRegistry({ stackDir, log }) {
  /** @type {{service: Service, stop: () => Promise<void>}[]} in the order of their start */
  const entries = [];
  /** @type {{demo: object, readyLine: string} | undefined} */
  let ready;
  let stopping = false;

  const publish = () => {
    const status = stopping ? "stopping" : ready === undefined ? "starting" : "ready";
    const services = entries.map(({ service }) => service);
    writeRun(stackDir, {
      supervisor: recordSelf(),
      status,
      ...(ready ? { readyLine: ready.readyLine } : {}),
      children: recordServices(services),
    });
    if (ready !== undefined) writeDemo(stackDir, ready.demo, services);
  };

  return {
    publish,
    /**
     * Adds a service before it starts.
     * @param {Service} service
     */
    adopt(service) {
      if (stopping) throw new Fault("stopped while it started");
      // A server that tries another port is a new service of the same name.
      const at = entries.findIndex((entry) => entry.service.name === service.name);
      if (at !== -1) entries.splice(at, 1);
      entries.push({ service, stop: service.stop });
      service.onStart(publish);
    },
    /**
     * From now on restarts every service that ends. `announce` runs before the record has the status ready.
     * @param {{demo: object, readyLine: string, announce: () => void}} given
     */
    markReady({ demo, readyLine, announce }) {
      if (stopping) return;
      for (const entry of entries) {
        const supervised = supervise(entry.service, { log, onEnd: publish });
        entry.stop = () => supervised.stop();
      }
      writeDemo(
        stackDir,
        demo,
        entries.map(({ service }) => service),
      );
      announce();
      ready = { demo, readyLine };
      publish();
    },
    /** Stops all, the last started first. */
    async stop() {
      stopping = true;
      publish();
      for (const { service, stop } of entries.toReversed()) {
        log(`${service.name}: stopping`);
        await stop();
      }
      if (ready !== undefined) writePrivateJson(join(stackDir, "demo.json"), { ...ready.demo, pids: {} });
    },
  };
}

function recordSelf() {
  const self = recordProcess(process.pid);
  if (self === undefined) throw new Fault("this process cannot see itself in /proc");
  return self;
}

/** @param {Service[]} services */
function recordServices(services) {
  const records = services.flatMap(({ name, pid, stopSignal }) => {
    const record = pid === undefined ? undefined : recordProcess(pid, stopSignal);
    return record === undefined ? [] : [[name, record]];
  });
  return Object.fromEntries(records);
}

/**
 * @param {string} stackDir
 * @param {object} demo
 * @param {Service[]} services
 */
function writeDemo(stackDir, demo, services) {
  const running = services.flatMap(({ name, pid }) => (pid === undefined ? [] : [[name, pid]]));
  const pids = { supervisor: process.pid, ...Object.fromEntries(running) };
  writePrivateJson(join(stackDir, "demo.json"), { ...demo, pids });
}
