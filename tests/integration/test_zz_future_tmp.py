import asyncio, time
from tests.integration.test_informer_control_plane import *
async def test_future(plane, cluster):
    await cluster.create(kinds.DEPLOYMENT, deployment("a"))
    t=time.perf_counter()
    async def look():
        n=0
        try:
            async for e in cluster.watch(kinds.DEPLOYMENT, None, "99999999", 100):
                print("event", round(time.perf_counter()-t,2), str(e)[:150]); n+=1
                if n==1: await cluster.create(kinds.DEPLOYMENT, deployment("b"))
        except Exception as x: print("raised", round(time.perf_counter()-t,2), type(x), str(x)[:200])
    try: await asyncio.wait_for(look(), 75)
    except TimeoutError: print("silent")
