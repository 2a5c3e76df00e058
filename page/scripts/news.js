// Asks every few seconds which jobs were started last, and tells a tab of one that it has not been told of.
const EVENTS = ["clusters", "unsafe", "retraining"], EVERY = 2000;
const told = {};

async function look() {
  if (!document.hidden) {
    try {
      const jobs = await server.latest_jobs([]);
      for (const tab of EVENTS) {
        if (!jobs[tab] || jobs[tab] === told[tab]) continue;
        told[tab] = jobs[tab];
        trigger(tab);
      }
    } catch { /* the connection is lost for a moment */ }
  }
  setTimeout(look, EVERY);
}
setTimeout(look, EVERY);
