import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.JSONArray;
import com.alibaba.fastjson.JSONObject;
import com.alibaba.fastjson.serializer.SerializerFeature;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.AllocateMessageQueueStrategy;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMachineRoomNearby;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragelyByCircle;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueByConfig;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueByMachineRoom;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueConsistentHash;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * How Apache's Java client shares queues. A line is one sharing: "strategy" (its name), "given" (what it was made with), "members",
 * "queues" (each "broker:number"; all are of the topic "t", or of "topic" if that is there), and "shares": for each member the places of its queues in that list.
 */
public class Allocations {
    private static final PrintStream OUT = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
    private static final int[][] SIZES = {
        {1, 1}, {1, 4}, {2, 4}, {3, 2}, {3, 8}, {4, 6}, {5, 16}, {7, 3}, {8, 8}, {10, 33}, {16, 64},
    };

    public static void main(String[] args) {
        // What the classes log is not of the table.
        System.setOut(System.err);
        for (int[] size : SIZES) {
            List<String> members = members("10.0.0.%d@DEFAULT#%032x", size[0]);
            List<MessageQueue> queues = queues(size[1], "broker-a", "broker-b", "broker-c");
            print(new AllocateMessageQueueAveragely(), null, members, queues);
            print(new AllocateMessageQueueAveragelyByCircle(), null, members, queues);
            print(new AllocateMessageQueueConsistentHash(), 10, members, queues);
        }
        List<MessageQueue> many = queues(30, "broker-a", "broker-b");
        for (int nodes : new int[] {1, 3, 100}) {
            print(new AllocateMessageQueueConsistentHash(nodes), nodes, members("192.168.1.%d@4711#%d", 6), many);
        }
        print(new AllocateMessageQueueConsistentHash(), 10, members("10.0.0.%d@\u5ba2\u6237\u7aef\ud83d\ude80#%d", 4), many);
        // As members with a namespace see them.
        many.forEach(queue -> queue.setTopic("ns%" + queue.getTopic()));
        print(new AllocateMessageQueueConsistentHash(), 10, members("10.0.0.%d@DEFAULT#%032x", 5), many);
        for (int[] size : SIZES) {
            List<MessageQueue> queues = queues(size[1], "broker-a", "broker-b");
            byConfig(members("10.0.0.%d@%d", size[0]), queues);
            List<MessageQueue> inRooms = queues(size[1], "east@broker-a", "east@broker-b", "west@broker-a", "broker-c", "a@b@c");
            byMachineRoom(members("10.0.0.%d@%d", size[0]), inRooms, "east");
            byMachineRoom(members("10.0.0.%d@%d", size[0]), inRooms, "east", "west");
            byMachineRoom(members("10.0.0.%d@%d", size[0]), inRooms, "north");
            nearby(members("%2$d-10.0.0.%1$d@x", size[0]), queues(size[1], "0-a", "0-b", "1-a", "3-a", "9-a"));
        }
    }

    /** Each member is given every third queue, in another order, and one that is not there. */
    private static void byConfig(List<String> members, List<MessageQueue> queues) {
        List<MessageQueue> given = new ArrayList<>();
        for (int i = queues.size() - 1; i >= 0; i -= 3) {
            given.add(queues.get(i));
        }
        AllocateMessageQueueByConfig strategy = new AllocateMessageQueueByConfig();
        strategy.setMessageQueueList(given);
        print(strategy, names(given), members, queues);
    }

    private static void byMachineRoom(List<String> members, List<MessageQueue> queues, String... rooms) {
        AllocateMessageQueueByMachineRoom strategy = new AllocateMessageQueueByMachineRoom();
        Set<String> given = new TreeSet<>(List.of(rooms));
        strategy.setConsumeridcs(given);
        print(strategy, given, members, queues);
    }

    /** What stands before the first hyphen is the room. */
    private static void nearby(List<String> members, List<MessageQueue> queues) {
        AllocateMachineRoomNearby.MachineRoomResolver resolver = new AllocateMachineRoomNearby.MachineRoomResolver() {
            @Override
            public String brokerDeployIn(MessageQueue queue) {
                return queue.getBrokerName().split("-")[0];
            }

            @Override
            public String consumerDeployIn(String member) {
                return member.split("-")[0];
            }
        };
        print(new AllocateMachineRoomNearby(new AllocateMessageQueueAveragely(), resolver), null, members, queues);
        print(new AllocateMachineRoomNearby(new AllocateMessageQueueAveragelyByCircle(), resolver), null, members, queues);
    }

    private static void print(AllocateMessageQueueStrategy strategy, Object given, List<String> members, List<MessageQueue> queues) {
        JSONArray shares = new JSONArray();
        for (String member : members) {
            JSONArray share = new JSONArray();
            strategy.allocate("g", member, queues, members).forEach(queue -> share.add(queues.indexOf(queue)));
            shares.add(share);
        }
        JSONObject line = new JSONObject(true).fluentPut("strategy", strategy.getName()).fluentPut("given", given)
            .fluentPut("members", members).fluentPut("queues", names(queues)).fluentPut("shares", shares);
        String topic = queues.get(0).getTopic();
        if (!topic.equals("t")) {
            line.put("topic", topic);
        }
        OUT.println(JSON.toJSONString(line, SerializerFeature.WriteMapNullValue));
    }

    /** The format is given a number and a small number. Sorted, as a consumer gets them. */
    private static List<String> members(String format, int count) {
        List<String> members = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            members.add(String.format(format, i * 37 % 256, i % 4));
        }
        Collections.sort(members);
        return members;
    }

    /** Sorted, as a consumer gets them. */
    private static List<MessageQueue> queues(int count, String... brokers) {
        List<MessageQueue> queues = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            queues.add(new MessageQueue("t", brokers[i % brokers.length], i / brokers.length));
        }
        Collections.sort(queues);
        return queues;
    }

    private static List<String> names(List<MessageQueue> queues) {
        List<String> names = new ArrayList<>();
        queues.forEach(queue -> names.add(queue.getBrokerName() + ":" + queue.getQueueId()));
        return names;
    }
}
